"""The loss of distillation, and its targets: the predictions of the dense model for the student's tokens.

Losses are computed in chunks of tokens, since logits are tokens x vocabulary in float32.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from evoprune.problems.language_model.evaluation.measure import Measure, Objective, Perplexity
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.forward import Forward, ids, pieces, predictions, scored
from evoprune.problems.language_model.texts.tokens import first_pieces, token_bytes

PARTS = ("divergence", "cross_entropy")  # parts of the loss

Head = nn.Module | None  # turns rows into logits; None if a model's rows are logits already

Targets = Callable[[slice], torch.Tensor]
"""Log-probabilities ``(tokens, vocabulary)``, float32, of some of the next tokens in windows, in their order."""

_RECENT = 8  # windows whose targets are cached, if they are logits

_SPACE = len("▁".encode())  # some tokenizers add one before a text


class DenseModel:
    """The dense ``model``, for a student that reads the same tokens."""

    def __init__(self, model: Any) -> None:
        self.model, self.forward = model, Forward(model)
        self._targets_of: dict[Any, Callable[[int], Targets]] = {}

    def cached_targets(self, tokens: torch.Tensor) -> Targets:
        """As :meth:`targets`, cached for the next measurement of the same ``tokens``, which are on the CPU."""
        key = tokens.numpy().tobytes(), torch.is_autocast_enabled(self.model.device.type)
        if key not in self._targets_of:
            most = None if self.forward.head else _RECENT
            self._targets_of[key] = lru_cache(most)(lambda at: self.targets(tokens[at, None].to(self.model.device)))
        of_window, ends = self._targets_of[key], [0, *accumulate(map(predictions, tokens.split(1)))]

        def targets(part: slice) -> torch.Tensor:
            windows = range(bisect_right(ends, part.start) - 1, bisect_left(ends, part.stop))
            limits = ((max(0, part.start - ends[at]), min(part.stop, ends[at + 1]) - ends[at]) for at in windows)
            return torch.cat([of_window(at)(slice(*limit)) for at, limit in zip(windows, limits, strict=True)])

        return targets

    def cache_targets(self, tokens: torch.Tensor) -> None:
        """Compute the :meth:`cached_targets` of ``tokens`` now."""
        targets, first = self.cached_targets(tokens), 0
        for window in tokens.split(1):
            targets(slice(first, first + 1))
            first += predictions(window)

    def targets(self, tokens: torch.Tensor) -> Targets:
        """Return the predictions of all ``tokens`` ``(windows, window)`` but the first of each window."""
        rows, _ = scored(self.forward(tokens)[0], tokens)
        return lambda part: self.forward.logits(rows[part]).log_softmax(-1)

    def teacher_ids(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the ids of the student's ``tokens`` in this model's vocabulary."""
        return tokens

    def perplexity(self, tokens: torch.Tensor) -> float:
        """Return the perplexity of this model per token of the student."""
        return Measure(self.forward, None).perplexity(tokens)


class RetokenisingModel(DenseModel):
    """The dense ``model``, for a student with a smaller vocabulary: each tokenizes the text in its own way.

    ``tokenizer``: of the model; ``student``: that of the student, with the ``remaining`` tokens. Where tokens of both
    end, the target is the model's distribution, in which a missing token counts for its first piece in ``student``
    (Phan et al., "Exact byte-level probabilities from tokenized language models", 2024). Elsewhere, as inside of a
    missing token, the target is the next piece.
    """

    def __init__(self, model: Any, tokenizer: Any, student: Any, remaining: Sequence[int]) -> None:
        super().__init__(model)
        self._tokenizer, self._student = tokenizer, student
        self._remaining = torch.tensor(remaining, device=model.device)
        self._bytes, self._longest = torch.tensor(token_bytes(tokenizer)), max_positions(model.config)
        rows = self.forward.vocabulary
        self._pieces = torch.full((rows,), len(remaining))  # rows that are no tokens have this index
        pieces = torch.tensor(first_pieces(tokenizer, student, remaining)[:rows])
        self._pieces[: len(pieces)] = pieces

    def targets(self, tokens: torch.Tensor) -> Targets:
        pairs = [self._read(window) for window in tokens.cpu()]
        read = pad_sequence([source for source, _ in pairs], batch_first=True)  # later tokens change no prediction
        states = self.forward(read.to(tokens.device))[0].cpu()
        rows = torch.cat([of_window[places[places >= 0]] for of_window, (_, places) in zip(states, pairs, strict=True)])
        agreed, following = torch.cat([places >= 0 for _, places in pairs]), tokens[:, 1:]
        return partial(self._targets, rows.to(tokens.device), agreed, following[following >= 0])

    def teacher_ids(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._remaining.to(tokens.device)[ids(tokens)]

    def perplexity(self, tokens: torch.Tensor) -> float:
        total = sum(Measure(self.forward, None).total(self._read(w)[0][None], Perplexity().add) for w in tokens.cpu())
        return Perplexity().value(total, predictions(tokens))

    def _targets(self, rows: torch.Tensor, agreed: torch.Tensor, following: torch.Tensor, part: slice) -> torch.Tensor:
        """As :data:`Targets`. ``rows``: where the tokenizers ``agreed``; ``following``: the next tokens."""
        before, taken = int(agreed[: part.start].sum()), agreed[part].to(rows.device)
        probabilities = self.forward.logits(rows[before : before + int(taken.sum())]).softmax(-1)
        count = len(self._remaining)
        summed = probabilities.new_zeros(len(probabilities), count + 1)
        summed = summed.index_add_(1, self._pieces.to(probabilities.device), probabilities)[:, :-1]
        targets = probabilities.new_zeros(len(taken), count).scatter_(1, following[part, None], 1.0)
        targets[taken] = summed / summed.sum(-1, keepdim=True)
        return targets.clamp_min_(torch.finfo(targets.dtype).tiny).log_()

    def _read(self, window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a ``window`` in this model's tokens, and the index of the last token before each scored token.

        The index is -1 where no token ends, and everywhere if the tokenizers give different bytes, as where a window
        begins or ends inside of a character.
        """
        counted = window[1:] >= 0
        window = ids(window[: int(counted.nonzero().max()) + 2])  # the rest is padding
        text = self._student.decode(window, clean_up_tokenization_spaces=False)
        source = torch.tensor(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        ends, wanted = (self._bytes[tokens].cumsum(0) for tokens in (source, self.teacher_ids(window)))
        if ends[-1] - wanted[-1] == _SPACE:
            ends -= _SPACE
        agreed = torch.isin(wanted[:-1], ends[: self._longest]) & (ends[-1] == wanted[-1])
        places = torch.where(agreed, torch.searchsorted(ends, wanted[:-1]), -1)
        return source[: self._longest], places[counted[: len(places)]]


def loss_on(
    tokens: torch.Tensor, student: Forward, teacher: DenseModel, cross_entropy: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of ``student`` on ``tokens`` ``(windows, window)``, and its unweighted :data:`PARTS` ``(2,)``."""
    teacher_log_p = teacher.targets(tokens)
    rows, targets = scored(student.rows(tokens), tokens)
    loss, parts = Distillation.apply(rows, student.head, targets, teacher_log_p, cross_entropy)
    return loss, parts


class Distillation(torch.autograd.Function):
    """Loss in nats a token, a scalar, and its parts ``(2,)``: KL(teacher || student), and cross-entropy; in float32.

    ``rows`` ``(n, width)``: input of the student's ``head``, which is not trained; ``targets`` ``(n,)``: the next
    tokens; ``teacher_log_p``: of the teacher; ``cross_entropy``: weight of the second part, 0 or more. The forward
    pass computes the gradient, so that no logits are stored (as in Liger Kernel, Hsu et al., 2024).
    """

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, head: Head, targets: torch.Tensor, teacher_log_p: Targets, cross_entropy: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gradient = torch.empty_like(rows)
        sums = torch.zeros(2, device=rows.device)
        count = len(targets)
        weight: Any = rows.T if head is None else head.weight
        for part in pieces(count, len(weight)):
            inputs = rows[part].detach().requires_grad_()
            with torch.enable_grad():
                logits = inputs if head is None else head(inputs)
            log_q = logits.detach().float().log_softmax(-1)
            log_p = teacher_log_p(part)
            p = log_p.exp()
            wanted = targets[part, None]
            sums[0] += (p * (log_p - log_q)).sum()
            sums[1] -= log_q.gather(1, wanted).sum()
            slope = log_q.exp_().mul_(1 + cross_entropy).sub_(p)  # of both losses in the logits
            slope.scatter_add_(1, wanted, slope.new_full(wanted.shape, -cross_entropy))
            gradient[part] = torch.autograd.grad(logits, inputs, slope.div_(count).to(logits.dtype))[0]
        ctx.save_for_backward(gradient)
        means = sums / count
        ctx.mark_non_differentiable(means)
        return means[0] + cross_entropy * means[1], means

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None, None


class ExactDivergence(Objective):
    """KL(teacher || student) over the whole vocabulary, and the student's next-token loss, on ``tokens`` on the CPU."""

    def __init__(self, teacher: DenseModel, tokens: torch.Tensor) -> None:
        self._targets = teacher.cached_targets(tokens)

    def add(self, logits: torch.Tensor, targets: torch.Tensor, first: int) -> torch.Tensor:
        log_q, log_p = logits.log_softmax(-1), self._targets(slice(first, first + len(logits)))
        return torch.stack([(log_p.exp() * (log_p - log_q)).sum(), -log_q.gather(1, targets[:, None]).sum()])


def divergence(student: Forward, tokens: torch.Tensor, objective: Objective) -> tuple[float, float]:
    """Return divergence, in nats a token, and perplexity of ``student`` on ``tokens`` ``(windows, window)``.

    ``objective``: sums the divergence and the next-token loss.
    """
    diverged, lost = Measure(student, None).totals(tokens, objective.add, label="measuring")
    count = predictions(tokens)
    return objective.value(diverged, count), Perplexity().value(lost, count)
