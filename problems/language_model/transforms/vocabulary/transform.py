"""The transform ``vocabulary``: fewer tokens, with their rows of the embedding and of the head."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from cachetools import LRUCache
from pydantic import Field
from torch import nn

from evoprune import Gene, Genes, InputError, Settings
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import ATTENTION, PARAMETERS, WEIGHTS, Prices, dense_amount
from evoprune.problems.language_model.transforms.transform import Transform
from evoprune.problems.language_model.transforms.vocabulary.expected_loss import expected_losses
from evoprune.problems.language_model.transforms.vocabulary.order import Order, order_of
from evoprune.problems.language_model.transforms.vocabulary.tokenizer import cut_ids, cut_tokenizer

NAME = "vocabulary"

_SCRIPTS = 6  # scripts in a note
_LEVELS = 32  # at most: neighbours have a constant ratio
_TOKENIZERS = 8  # that stay in memory


class VocabularySettings(Settings):
    """The texts whose tokens are needed, and tokens that stay in any case."""

    texts: tuple[TextSettings, ...] = Field(
        (),
        description="texts like those that the model is for, whose tokens stay: all of each, whatever its windows; "
        "none: the calibration text, which must be another one than the search text",
    )
    keep: tuple[str, ...] = Field((), description="tokens that always stay, as the tokenizer writes them")
    step: int = Field(256, ge=1, description="numbers of tokens are multiples of it")


class Vocabulary(Transform):
    """Leave tokens out: one gene is the number that stay, the ones needed most first::

        transforms: {use: vocabulary, texts: [{source: all.txt, part: [0.3, 0.75]}], step: 256}

    The rest stays closed under the merges of the tokenizer, so that it can write any text; see
    :mod:`evoprune.problems.language_model.transforms.vocabulary.order`. The tokenizer of the resident model changes
    with its tensors.
    """

    Settings = VocabularySettings
    settings: VocabularySettings
    units = (WEIGHTS, PARAMETERS, ATTENTION)

    def __init__(self, resident: Resident, settings: VocabularySettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        model = resident.model
        self._ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
        self._dense = {id(end): dict(end.named_parameters()) for end in self._ends}
        self._names = [name for name, module in model.named_modules() if module in self._ends]
        self._rows, self._padding = len(self._ends[0].weight), self._ends[0].padding_idx
        if any(len(end.weight) != self._rows for end in self._ends):
            raise InputError("the embedding and the head have other numbers of tokens", "problem.transforms")
        self._tokenizer = resident.tokenizer
        self.order = self._find_order()
        self._counts = _steps(self._rows, self.order, settings.step)
        if len(self._counts) < 2:
            raise InputError(
                f"all {self._rows:,} tokens stay: {self.order.fewest:,} of them always do", "problem.transforms"
            )
        harms = expected_losses(resident, self.texts.search, self.order, self._counts)
        gene = Gene.of_levels("tokens", self._counts, NAME, harms)
        self._genes = Genes([replace(gene, absolute=True)])
        self._level = 0
        self._shapes_alone = False
        self._tokenizers: LRUCache[int, Any] = LRUCache(_TOKENIZERS)

    def _find_order(self) -> Order:
        settings = self.settings
        for text in settings.texts or [self.texts.calibration.settings]:
            self.texts.refuse_seen(text, "problem.transforms.texts")
        texts = [load_text(text, "transforms.texts") for text in settings.texts]
        if not texts:
            calibration = self.texts.calibration.text.flatten()
            texts = [self._tokenizer.decode(calibration, clean_up_tokenization_spaces=False)]
        return order_of(self._tokenizer, texts, settings.keep)

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
        self._level = level
        kept = self.remaining_tokens(genome)
        made: dict[int, nn.Parameter] = {}
        for end in self._ends:
            for name, dense in self._dense[id(end)].items():
                if id(dense) not in made:  # a tied head has the embedding's
                    made[id(dense)] = dense if kept is None else nn.Parameter(self._left(dense, kept), False)
                setattr(end, name, made[id(dense)])
        _resize(self.resident.model, self._rows if kept is None else len(kept))
        self._ends[0].padding_idx = self._padding if kept is None else None  # it matters to gradients alone
        if not self._shapes_alone:
            self.resident.tokenizer = self._tokenizer if kept is None else self._tokenizer_of(level, kept)

    def _left(self, dense: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
        return dense[: len(kept)] if self._shapes_alone else dense[torch.tensor(kept, device=dense.device)]

    def _tokenizer_of(self, level: int, kept: Sequence[int]) -> Any:
        if level not in self._tokenizers:
            self._tokenizers[level] = cut_tokenizer(self._tokenizer, kept)
        return self._tokenizers[level]

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
        """All blocks read other tokens."""
        return [self._level] * self.resident.forward.depth

    def prices(self, unit: str) -> Prices:
        if unit != PARAMETERS:
            return [[0.0] * len(self._counts)], dense_amount(self.resident, unit)
        tensors = {id(own): own for known in self._dense.values() for own in known.values()}
        row = sum(own[0].numel() for own in tensors.values())
        return [[-float(row * (self._rows - count)) for count in self._counts]], float(self.resident.parameters)

    def measures(self) -> Mapping[str, Any]:
        return {"tokens": self._counts[self._level]}

    def notes(self, genome: Sequence[float]) -> list[str]:
        """The scripts that lose tokens, the largest losses first."""
        count = self._counts[int(genome[0])]
        left = self.order.scripts(count)
        losing = sorted((kept - there, script) for script, (kept, there) in left.items() if kept < there)[:_SCRIPTS]
        if not losing:
            return []
        lost = ", ".join(f"{script} {left[script][0]:,} of {left[script][1]:,}" for _, script in losing)
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
        bare._shapes_alone = True
        return bare


def _resize(model: Any, count: int) -> None:
    """Tell the layers and the config of ``model`` how many tokens there are."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    embedding.num_embeddings = count
    if head is not None:
        head.out_features = count
    model.config.get_text_config().vocab_size = count


def _steps(rows: int, order: Order, step: int) -> list[int]:
    """All ``rows``, and multiples of ``step`` from fewer down to the fewest, with about the same ratios."""
    least, most = order.fewest, min(rows - 1, len(order.tokens))
    if least > most:
        return [rows]
    ratio = (least / most) ** (1 / max(1, _LEVELS - 2))
    wanted = [max(least, -(-round(most * ratio**at) // step) * step) for at in range(_LEVELS - 1)]
    return [rows, *sorted({count for count in wanted if count <= most} | {least}, reverse=True)]
