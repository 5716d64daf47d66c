"""The transform ``vocabulary``: removes tokens, with their rows of the embedding and of the head."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from pydantic import Field
from torch import nn

from evoprune import Gene, Genes, InputError, Settings
from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached
from evoprune.problems.language_model.models.forward import pieces, predictions, scored
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.texts.windows import Windows, tokenise
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices, dense_cost
from evoprune.problems.language_model.transforms.transform import Transform
from evoprune.problems.language_model.vocabulary.order import Order, token_frequencies, token_order
from evoprune.problems.language_model.vocabulary.tokenizer import cut_ids, cut_tokenizer

NAME = "vocabulary"

_SCRIPTS = 6  # scripts in a note
_LEVELS = 32  # at most, at a constant ratio
_TOKENIZERS = 8  # in memory, at most
_LEAST = 1e-9  # nats of the last level, since a gene needs a level with positive level_loss
_READ = 2048  # tokens on which the gain of remaining tokens is measured, at most


class VocabularySettings(Settings):
    """Texts whose tokens are needed, and tokens that always remain."""

    texts: tuple[TextSettings, ...] = Field(
        (),
        description="texts like those that the model is for, whose tokens stay: all of each, whatever its windows; "
        "none: the calibration text, which must be another one than the search text",
    )
    keep: tuple[str, ...] = Field((), description="tokens that always stay, as the tokenizer writes them")
    step: int = Field(256, ge=1, description="numbers of tokens are multiples of it")


class Vocabulary(Transform):
    """Remove tokens: the only gene is the number that remain, the most needed first::

        transforms: {use: vocabulary, texts: [{source: all.txt, part: [0.3, 0.75]}], step: 256}

    The remaining tokens are closed under the merges of the tokenizer, so that they can encode any text; see
    :mod:`evoprune.problems.language_model.vocabulary.order`. The tokenizer of the resident model changes
    with its tensors.
    """

    Settings = VocabularySettings
    settings: VocabularySettings
    units = (WEIGHTS, PARAMETERS)
    replayed = False

    def __init__(self, resident: Resident, settings: VocabularySettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        model, tokenizer = resident.model, resident.tokenizer
        self._ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
        self._dense = {(end, name): weight for end in self._ends for name, weight in end.named_parameters()}
        self._names = [name for name, module in model.named_modules() if module in self._ends]
        self._rows, self._padding = len(self._ends[0].weight), self._ends[0].padding_idx
        if any(len(end.weight) != self._rows for end in self._ends):
            raise InputError("the embedding and the head have other numbers of tokens", "problem.transforms")
        self.order = token_order(tokenizer, self._needed_texts(), settings.keep)
        self._counts = token_counts(self._rows, self.order, settings.step)
        if len(self._counts) < 2:
            raise InputError(f"all {self._rows:,} tokens stay, {self.order.fewest:,} always", "problem.transforms")
        level_losses = expected_losses(resident, self.texts.search, self.order, self._counts)
        self._genes = Genes([replace(Gene.of_levels("tokens", self._counts, level_losses), absolute=True)])
        self._level, self._shapes_only = 0, False
        self._tokenizer_at = lru_cache(_TOKENIZERS)(
            lambda level: cut_tokenizer(tokenizer, kept) if (kept := self.vocabularies[level]) else tokenizer
        )

    def _needed_texts(self) -> list[str]:
        chosen, calibration = self.settings.texts, self.texts.calibration
        for text in chosen or [calibration.settings]:
            self.texts.refuse_seen(text, "problem.transforms.texts")
        if chosen:
            return [load_text(text, "transforms.texts") for text in chosen]
        return [self.resident.tokenizer.decode(calibration.text.flatten(), clean_up_tokenization_spaces=False)]

    @classmethod
    def calibrates(cls, settings: VocabularySettings) -> bool:
        return not settings.texts

    @property
    def genes(self) -> Genes:
        return self._genes

    @property
    def parts(self) -> frozenset[str]:
        return frozenset({NAME})

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        level = int(genome[0])
        if level == self._level:
            return
        self._level, kept, model = level, self.vocabularies[level], self.resident.model
        pruned = dict[nn.Parameter, nn.Parameter]()
        for (end, name), dense in self._dense.items():
            if dense not in pruned:  # a tied head shares the embedding's
                pruned[dense] = dense if kept is None else nn.Parameter(self._rows_of(dense, kept), requires_grad=False)
            setattr(end, name, pruned[dense])
        count = self._counts[level]
        model.get_input_embeddings().num_embeddings = model.config.get_text_config().vocab_size = count
        if (head := model.get_output_embeddings()) is not None:
            head.out_features = count
        self._ends[0].padding_idx = self._padding if kept is None else None  # only gradients depend on it
        if not self._shapes_only:
            self.resident.tokenizer = self._tokenizer_at(level)

    def _rows_of(self, dense: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
        return dense[: len(kept)] if self._shapes_only else dense[torch.tensor(kept, device=dense.device)]

    @cached_property
    def vocabularies(self) -> Sequence[Sequence[int] | None]:  # type: ignore[override]
        tokens = self.order.tokens
        return [sorted(tokens[:count]) if level else None for level, count in enumerate(self._counts)]

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        kept = self.remaining_tokens(genome)
        return {} if kept is None else dict.fromkeys(self._names, torch.tensor(kept))

    def teacher(self, genome: Sequence[float]) -> list[float]:
        return list(genome)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return [self._level] * self.resident.forward.depth  # the input of every block changes

    def prices(self, unit: str) -> Prices:
        row = sum(weight[0].numel() for weight in {*self._dense.values()}) if unit == PARAMETERS else 0
        return [[0.0 - row * (self._rows - count) for count in self._counts]], dense_cost(self.resident, unit)

    def measures(self) -> Mapping[str, Any]:
        return {"tokens": self._counts[self._level]}

    def notes(self, genome: Sequence[float]) -> list[str]:
        """Return a remark that names the scripts with removed tokens, the largest numbers first."""
        count = self._counts[int(genome[0])]
        scripts = self.order.scripts(count)
        losing = sorted((kept - total, script) for script, (kept, total) in scripts.items() if kept < total)[:_SCRIPTS]
        if not losing:
            return []
        lost = ", ".join(f"{script} {scripts[script][0]:,} of {scripts[script][1]:,}" for _, script in losing)
        return [
            f"{count:,} of {self._rows:,} tokens stay ({lost}): such text is read and written worse; texts of these "
            "scripts keep more"
        ]

    def describe(self) -> dict[str, Any]:
        return {"vocabulary": {"of": self._rows, "step": self.settings.step, "keep": list(self.settings.keep)}}

    def write(self, model: Any) -> None:
        if (kept := self.vocabularies[self._level]) is not None:
            for config in filter(None, (model.config, model.generation_config)):
                cut_ids(config, kept)

    def bare(self) -> Transform:
        bare = copy(self)
        bare._shapes_only = True
        return bare


def token_counts(rows: int, order: Order, step: int) -> list[int]:
    """Return ``rows``, and multiples of ``step`` down to the fewest tokens, at a nearly constant ratio."""
    least, most = order.fewest, min(rows - 1, len(order.tokens))
    if least > most:
        return [rows]
    ratio = (least / most) ** (1 / max(1, _LEVELS - 2))
    wanted = [max(least, -(-round(most * ratio**at) // step) * step) for at in range(_LEVELS - 1)]
    return [rows, *sorted({count for count in wanted if count <= most} | {least}, reverse=True)]


def expected_losses(resident: Resident, search: Windows, order: Order, counts: Sequence[int]) -> list[float]:
    """Return the expected loss with each of ``counts`` tokens, in nats a token.

    It is the loss of missing tokens, less the gain of remaining tokens, whose probabilities rise.
    """
    frequencies = token_frequencies(tokenise(load_text(search.settings, "search_text"), resident.tokenizer))
    key = [search.identity, counts, list(order.tokens)]
    build = partial(_gains, resident, search.tokens, order, counts)
    gains = cached(resident, "shares of kept tokens", key, build, torch.device("cpu"))["gains"]
    both = zip(counts[1:], gains.tolist(), strict=True)
    losses = [max(0.0, order.expected_loss(frequencies, count) - gain) for count, gain in both]
    return [0.0, *losses[:-1], max(losses[-1], _LEAST)]


@torch.inference_mode()
def _gains(resident: Resident, tokens: torch.Tensor, order: Order, counts: Sequence[int]) -> Tensors:
    """Return the gain of remaining tokens at each level but the first, as no others can follow: nats a token."""
    forward, ordered, levels = resident.forward, torch.tensor(order.tokens), torch.tensor(counts[1:])
    places = torch.full((counts[0],), len(ordered))
    places[ordered] = torch.arange(len(ordered))
    read, total = tokens[: max(1, _READ // tokens.shape[1])], torch.zeros(len(levels), dtype=torch.float64)
    for window in steps(read, "measuring the gain of tokens", "window"):
        rows, targets = scored(forward(window[None].to(forward.device))[0], window[None])
        for part in pieces(len(targets), forward.vocabulary):
            shares = forward.logits(rows[part]).softmax(-1).cpu()[:, ordered].double().cumsum(1)[:, levels - 1]
            total -= (shares.log() * (places[targets[part], None] < levels)).sum(0)
    return {"gains": total / predictions(read)}
