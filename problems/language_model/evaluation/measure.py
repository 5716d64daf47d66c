"""Runs windows of tokens through a model in batches: adds up an objective's loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.plugins import steps
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache
from evoprune.problems.language_model.models.device import (
    map_in_threads,
    out_of_memory,
    release_memory,
    sum_dtype,
    total_memory,
)
from evoprune.problems.language_model.models.forward import Forward, Kept, Run, pieces, predictions
from evoprune.problems.language_model.models.lazy_weights import materialised


class Objective(ABC):
    """A loss summed over predictions, some rows of logits at a time; lower is better."""

    @abstractmethod
    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        """Return the loss, in nats, summed over ``logits`` ``(rows, vocabulary)``, float32; other sums may follow it.

        ``targets`` ``(rows,)``: the next tokens. ``first``: the number of predictions before the rows.
        """

    def value(self, total: float, predictions: int) -> float:
        return total / predictions


class Perplexity(Objective):
    """exp of the mean next-token loss; losses and sums over some rows in float32, the total in float64."""

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:  # noqa: ARG002
        return cross_entropy(logits, targets, reduction="sum")

    def value(self, total: float, predictions: int) -> float:
        mean = total / predictions
        return math.exp(mean) if mean < 700 else math.inf if mean == mean else math.nan  # beyond, exp overflows


class Divergence(Objective):
    """Mean Kullback-Leibler divergence from the dense model's predictions, in nats per token.

    KL(dense || pruned) as in EvoPress (Sieberling et al., ICML 2025). Of each prediction the ``top`` largest
    probabilities are stored, and all others as one: a lower bound, exact if ``top`` is the vocabulary's size.
    ``loss``: the dense model's next-token loss, in nats a token. ``offset`` is added to each value: the rise of this
    loss by a smaller vocabulary. The next-token loss is the second sum.
    """

    def __init__(self, predictions: int, top: int, device: torch.device | None = None) -> None:
        self.top, self.offset, self.loss = top, 0.0, 0.0
        self._log_p = torch.empty(predictions, top, device=device)
        self._rest, self._losses = torch.empty(2, predictions, device=device)
        self._tokens = torch.empty(predictions, top, dtype=torch.int32, device=device)

    @property
    def top_predictions(self) -> dict[str, Tensor]:
        """The stored predictions, on the CPU.

        ``log_p`` and the tokens ``top``: ``(predictions, top)``; ``rest``, the logarithm of all other probabilities
        together, and the next token's ``loss``: ``(predictions,)``.
        """
        stored = {"log_p": self._log_p, "top": self._tokens, "rest": self._rest, "loss": self._losses}
        return {name: tensor.cpu() for name, tensor in stored.items()}

    def store(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        """Store the dense model's ``logits`` ``(rows, vocabulary)``; return their summed next-token loss."""
        rows = slice(first, first + logits.shape[0])
        whole = logits.log_softmax(-1)
        log_p, tokens = whole.topk(self._tokens.shape[1], sorted=False)
        self._losses[rows] = -whole.gather(1, targets[:, None]).squeeze(1)
        self._log_p[rows], self._tokens[rows], self._rest[rows] = log_p, tokens, _log_rest(log_p)
        return cross_entropy(logits, targets, reduction="sum")

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        """Return the summed divergence, and the next-token loss."""
        rows = slice(first, first + logits.shape[0])
        stored = (self._log_p, self._rest, self._tokens)  # on the session's device; a trained copy may be on another
        log_p, rest_p, tokens = (each[rows].to(logits.device) for each in stored)
        whole = logits.logsumexp(-1, keepdim=True)
        log_q = logits.gather(1, tokens.long()) - whole
        inside = (log_p.exp() * (log_p - log_q)).sum(-1)
        outside = rest_p.exp() * (rest_p - _log_rest(log_q))
        following = (whole - logits.gather(1, targets[:, None])).squeeze(1)
        return torch.stack([inside + outside, following]).to(sum_dtype(logits.device)).sum(1)

    def value(self, total: float, predictions: int) -> float:
        return super().value(total, predictions) + self.offset


def _log_rest(log_probabilities: Tensor) -> Tensor:
    """Return the logarithm of the probability outside ``log_probabilities`` ``(rows, top)``, float32, finite."""
    rest = 1 - log_probabilities.to(sum_dtype(log_probabilities.device)).exp().sum(-1)
    return rest.clamp_min(1e-9).log().float()


_CPU_BATCH = 1024  # tokens: activations between two layers should fit the cache, and each core have a batch
_GPU_SHARE, _GPU_BATCH = 0.5, 2**16  # share of the memory beside the model for a batch; most tokens in it

Add = Callable[[Tensor, Tensor, int], Tensor]
"""As :meth:`evoprune.problems.language_model.evaluation.measure.Objective.add`."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Some windows of a text, on the device: made once, so that no candidate waits for a copy.

    ``first``: the number of the first window; ``before``: of the predictions before it. ``targets``: the scored tokens;
    ``counted``: their numbers among the predicted tokens, None if all are scored.
    """

    first: int
    before: int
    tokens: Tensor
    targets: Tensor
    counted: Tensor | None

    @classmethod
    def of(cls, tokens: Tensor, first: int, windows: int, device: torch.device) -> "Batch":
        own, before = tokens[first : first + windows], predictions(tokens[:first])
        targets = own[:, 1:].flatten()
        counted = (targets >= 0).nonzero().squeeze(1) if (targets < 0).any() else None
        targets = (targets if counted is None else targets[counted]).to(device)
        return cls(first, before, own.to(device), targets, counted if counted is None else counted.to(device))

    @property
    def rows(self) -> slice:
        return slice(self.first, self.first + len(self.tokens))

    def scored(self, rows: Tensor) -> Tensor:
        """Return the ``rows`` ``(windows, window, width)`` that predict :attr:`targets`."""
        rows = rows[:, :-1].flatten(0, 1)
        return rows if self.counted is None else rows[self.counted]


class Measure:
    """Adds up losses in batches of ``batch_tokens`` (None: as the device allows), halved if memory runs out."""

    def __init__(self, forward: Forward, batch_tokens: int | None) -> None:
        self.forward = forward
        self.batch_tokens = batch_tokens or self._fitting()
        self._batches: MutableMapping[Tensor, dict[int, list[Batch]]] = WeakTensorKeyDictionary()
        """Batches of the texts in use, by the number of windows."""

    def perplexity(self, tokens: Tensor) -> float:
        """Return the model's perplexity now on ``tokens`` ``(windows, window)``, int64, and show progress."""
        return self.value(tokens, Perplexity(), label="measuring")

    def value(self, tokens: Tensor, objective: Objective, label: str = "") -> float:
        return objective.value(self.total(tokens, objective.add, label=label), predictions(tokens))

    def total(self, tokens: Tensor, add: Add, states: PrefixCache | None = None, label: str = "") -> float:
        """Return the loss that ``add`` sums over the predictions of ``tokens`` ``(windows, window)``, int64."""
        return self.totals(tokens, add, states, label)[0]

    def totals(self, tokens: Tensor, add: Add, states: PrefixCache | None = None, label: str = "") -> list[float]:
        """Return all sums of ``add``, as :meth:`total`.

        Blocks whose ``states`` are cached are skipped, with the same result. ``label``: of the progress.
        """
        return self.halving(tokens, states, lambda windows: self._totals(tokens, windows, add, states, label))

    def halving(self, tokens: Tensor, states: PrefixCache | None, run: Callable[[int], Result]) -> Result:
        """Return the result of ``run`` for the windows of a batch, which are halved as long as memory runs out."""
        while True:
            windows = max(1, self.batch_tokens // tokens.shape[1])
            try:
                return run(windows)
            except RuntimeError as error:
                if windows == 1 or not out_of_memory(error):
                    raise
            self.batch_tokens = windows // 2 * tokens.shape[1]
            if states:
                states.clear()  # they belong to batches of another size
            release_memory(self.forward.device)

    def _totals(self, tokens: Tensor, windows: int, add: Add, states: PrefixCache | None, label: str) -> list[float]:
        cache = states if self.forward.resumable else None
        batches: dict[int, list[tuple[Batch, Tensor | None]]] = {}
        for batch in self.batches(tokens, windows):
            start, state = cache.longest(batch.first, len(batch.tokens)) if cache else (0, None)
            batches.setdefault(start, []).append((batch, state))
        losses: dict[int, list[Tensor]] = {}
        for start, alike in batches.items():
            with (
                materialised(self.forward.modules(self.forward.depth)),
                self.forward.resumed(start, cache.checkpoints(start) if cache else []) as run,
            ):
                score = partial(self._scored, run, add)
                scored = map_in_threads(score, alike) if self.forward.device.type == "cpu" else map(score, alike)
                for first, of_batch, kept in steps(scored, label, "part", len(alike)) if label else scored:
                    losses[first] = of_batch
                    if cache:
                        cache.store(first, kept)
        return summed(loss for first in sorted(losses) for loss in losses[first])

    def batches(self, tokens: Tensor, windows: int) -> list[Batch]:
        """Return the batches of ``windows`` each, made once while ``tokens`` is in use."""
        batches = self._batches.setdefault(tokens, {})
        if windows not in batches:
            starts = range(0, len(tokens), windows)
            batches[windows] = [Batch.of(tokens, first, windows, self.forward.device) for first in starts]
        return batches[windows]

    def _scored(self, run: Run, add: Add, of: tuple[Batch, Tensor | None]) -> tuple[int, list[Tensor], Kept]:
        batch, state = of
        output, kept = run(batch.tokens, state)
        return batch.first, self.losses(output, batch, add), kept

    @torch.inference_mode()
    def losses(self, output: Tensor, batch: Batch, add: Add) -> list[Tensor]:
        """Return the losses of a run's ``output`` on ``batch``, some rows at a time, as all logits take much memory."""
        predicted, targets = batch.scored(output), batch.targets
        return [
            add(self.forward.logits(predicted[part]), targets[part], batch.before + part.start)
            for part in pieces(len(targets), self.forward.vocabulary)
        ]

    def _fitting(self) -> int:
        total = total_memory(self.forward.device)
        if total is None:
            return _CPU_BATCH
        return fitting(beside(self.forward.bytes, total), self.forward.bytes_per_token)


def summed(losses: Iterable[Tensor]) -> list[float]:
    """Add up losses of some rows each, in float64."""
    return torch.stack([*losses]).cpu().double().sum(0).flatten().tolist()  # one copy; MPS has no float64


def beside(model: int, total: float) -> float:
    """The bytes of a GPU of ``total`` that are left to a batch by a ``model`` of so many bytes.

    Free memory does not count, as it differs between workers: rounding depends on the batch.
    """
    return max(total - 3.0 * model, total / 8)


def fitting(free: float, bytes_per_token: int) -> int:
    """The tokens in a batch if ``free`` bytes are available: a power of two, so that cards of one kind agree."""
    tokens = max(1, int(_GPU_SHARE * free / bytes_per_token))
    return int(min(_GPU_BATCH, 2 ** (tokens.bit_length() - 1)))
