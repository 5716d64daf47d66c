"""The base of ``heads``, ``channels`` and ``experts``: a gene is the number of parts of a block that stay."""

import copy
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field

from evoprune import Gene, Genes, InputError, Settings
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices, dense_amount
from evoprune.problems.language_model.transforms.sublayers import protected
from evoprune.problems.language_model.transforms.transform import Transform


class PartCutSettings(Settings):
    """The genes, and the blocks that lose nothing."""

    genes: Literal["block", "model"] = Field(
        "block",
        description="whether each block has a gene, or one gene says how many stay in all of them, as .gguf files and "
        "plain transformers folders need",
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose nothing, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )


class Parts(NamedTuple):
    """The parts of a block: the numbers that may stay, from all on, and the costs by unit of a part and of all."""

    counts: Sequence[int]
    one: Mapping[str, int]
    whole: Mapping[str, int]


class PartCut(Transform):
    """Leave parts out of blocks, the ones with the lowest scores first; their tensors get smaller."""

    noun: ClassVar[str]
    """The plural that levels count and genes are named after."""

    settings: Any
    units = (WEIGHTS, PARAMETERS)

    def _govern(self, parts: Mapping[int, Parts]) -> None:
        """Set the ``parts`` by block, and the genes of blocks; blocks that are kept have one level."""
        depth = self.resident.forward.depth
        kept = protected(self.settings.keep, depth)
        self._parts, self._levels = parts, [0] * depth
        self._counts = {block: of.counts[:1] if block in kept else of.counts for block, of in parts.items()}
        if all(len(counts) == 1 for counts in self._counts.values()):
            raise InputError(f"no block has {self.noun} that may be left out", "problem.transforms.keep")
        self._governed = {f"{self.noun} {block}": [block] for block in parts}
        if self.settings.genes == "model":
            free = [block for block in parts if block not in kept]
            if len({tuple(parts[block].counts) for block in free}) > 1:
                raise InputError(f"its blocks differ in their {self.noun}: give genes: block", "problem.model")
            self._governed = {self.noun: free}

    @abstractmethod
    def _set(self, block: int, count: int) -> None:
        """Leave ``count`` parts in ``block``."""

    @abstractmethod
    def form(self, count: int) -> Mapping[str, int]:
        """Return the entries of a config for a model with ``count`` parts in each block."""

    @cached_property
    def genes(self) -> Genes:
        return Genes([self._gene(name, blocks) for name, blocks in self._governed.items()])

    def _gene(self, name: str, blocks: Sequence[int]) -> Gene:
        group = f"block {blocks[0]}" if self.settings.genes == "block" else ""
        return Gene.of_levels(name, self._counts[blocks[0]], group)

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        for block, level in self._levels_of(genome).items():
            if level != self._levels[block]:
                self._set(block, self._counts[block][level])
                self._levels[block] = level

    def _levels_of(self, genome: Sequence[float]) -> dict[int, int]:
        pairs = zip(self._governed.values(), map(int, genome), strict=True)
        return {block: level for blocks, level in pairs for block in blocks}

    def counts_of(self, genome: Sequence[float]) -> dict[int, int]:
        """Return the number of remaining parts of each block that a gene governs."""
        return {block: self._counts[block][level] for block, level in self._levels_of(genome).items()}

    @property
    def remaining(self) -> dict[int, int]:
        """The number of remaining parts, by block, of the model as it is now."""
        return {block: counts[self._levels[block]] for block, counts in self._counts.items()}

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        def saved(block: int, count: int) -> int:
            parts = self._parts[block]
            return (parts.counts[0] - count) * parts.one[unit] if count else parts.whole[unit]

        prices = [
            [0.0 - sum(saved(block, count) for block in blocks) for count in self._counts[blocks[0]]]
            for blocks in self._governed.values()
        ]
        return [*prices], dense_amount(self.resident, unit)

    @property
    def plain(self) -> bool:
        (block, count), *_ = self.remaining.items()
        if not count or {*self.remaining.values()} != {count}:
            return False
        return count == self._counts[block][0] or has_form(self.resident.model, self.form(count), block)

    def write(self, model: Any) -> None:
        (block, count), *_ = self.remaining.items()
        if count != self._counts[block][0]:
            set_form(model.config, self.form(count))

    def describe(self) -> dict[str, Any]:
        return {self.noun: self.settings.model_dump(mode="json")}


def has_form(model: Any, entries: Mapping[str, int], block: int = 0) -> bool:
    """Return whether transformers builds ``block`` in the shapes of ``model`` from a config with ``entries``."""
    config = copy.deepcopy(model.config)
    try:
        set_form(config, entries)
        fresh = type(config).from_dict(config.to_dict())  # with the checks of its class
        with torch.device("meta"):
            plain = type(model)(fresh)
        theirs, ours = (
            {name: parameter.shape for name, parameter in find_blocks(each)[1][block].named_parameters()}
            for each in (plain, model)
        )
        return theirs == ours
    except Exception:  # model classes and checks of configs raise many kinds of errors
        return False


def set_form(config: Any, entries: Mapping[str, int]) -> None:
    """Put ``entries`` into ``config``."""
    for name, value in entries.items():
        setattr(config.get_text_config(), name, value)
