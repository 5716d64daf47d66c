"""Base of ``heads``, ``channels`` and ``experts``: a gene is the number of units of a block that remain."""

import copy
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field

from evoprune import Gene, Genes, InputError, Settings
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices, dense_cost
from evoprune.problems.language_model.transforms.sublayers import kept_blocks
from evoprune.problems.language_model.transforms.transform import Transform


class StructuredSettings(Settings):
    """The genes, and the blocks that are not pruned."""

    genes: Literal["block", "model"] = Field(
        "block",
        description="whether each block has a gene, or one gene says how many stay in all of them, as .gguf files and "
        "plain transformers folders need",
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose nothing, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )


class BlockUnits(NamedTuple):
    """Units of a block: the numbers that may remain, all first, and the costs of one unit and in total, by unit."""

    counts: Sequence[int]
    cost: Mapping[str, int]
    total: Mapping[str, int]


class StructuredPruning(Transform):
    """Remove units of blocks with all their weights, so that tensors get smaller; the lowest scores first."""

    noun: ClassVar[str]
    """Plural of the unit, after which genes are named."""

    settings: Any
    units = (WEIGHTS, PARAMETERS)

    def _set_units(self, units: Mapping[int, BlockUnits]) -> None:
        """Set the ``units`` by block, and the genes; blocks that are not pruned have one level."""
        depth = self.resident.forward.depth
        kept = kept_blocks(self.settings.keep, depth)
        self._costs, self._levels = units, [0] * depth
        self._counts = {block: of.counts[:1] if block in kept else of.counts for block, of in units.items()}
        if all(len(counts) == 1 for counts in self._counts.values()):
            raise InputError(f"no block has {self.noun} that may be left out", "problem.transforms.keep")
        self._blocks_of_genes = {f"{self.noun} {block}": [block] for block in units}
        if self.settings.genes == "model":
            free = [block for block in units if block not in kept]
            if len({tuple(units[block].counts) for block in free}) > 1:
                raise InputError(f"its blocks differ in their {self.noun}: give genes: block", "problem.model")
            self._blocks_of_genes = {self.noun: free}

    @classmethod
    def calibrates(cls, settings: Any) -> bool:  # noqa: ARG003 - always
        return True

    @abstractmethod
    def _resize(self, block: int, count: int) -> None:
        """Let ``count`` units of ``block`` remain."""

    @abstractmethod
    def config_entries(self, count: int) -> Mapping[str, int]:
        """Return the entries of a config for a model with ``count`` units in each block."""

    @cached_property
    def genes(self) -> Genes:
        return Genes([self._gene(name, blocks) for name, blocks in self._blocks_of_genes.items()])

    def _gene(self, name: str, blocks: Sequence[int]) -> Gene:
        return Gene.of_levels(name, self._counts[blocks[0]])

    @torch.no_grad()
    def apply(self, genome: Sequence[float]) -> None:
        for block, level in self._levels_of(genome).items():
            if level != self._levels[block]:
                self._resize(block, self._counts[block][level])
                self._levels[block] = level

    def _levels_of(self, genome: Sequence[float]) -> dict[int, int]:
        pairs = zip(self._blocks_of_genes.values(), map(int, genome), strict=True)
        return {block: level for blocks, level in pairs for block in blocks}

    def counts_of(self, genome: Sequence[float]) -> dict[int, int]:
        """Return the number of remaining units of each block that has a gene."""
        return {block: self._counts[block][level] for block, level in self._levels_of(genome).items()}

    @property
    def remaining_counts(self) -> dict[int, int]:
        """The number of units that the model has now, by block."""
        return {block: counts[self._levels[block]] for block, counts in self._counts.items()}

    def block_fingerprints(self) -> Sequence[Hashable]:
        return list(self._levels)

    def prices(self, unit: str) -> Prices:
        def saved(block: int, count: int) -> int:
            units = self._costs[block]
            return (units.counts[0] - count) * units.cost[unit] if count else units.total[unit]

        prices = [
            [0.0 - sum(saved(block, count) for block in blocks) for count in self._counts[blocks[0]]]
            for blocks in self._blocks_of_genes.values()
        ]
        return prices, dense_cost(self.resident, unit)

    @property
    def plain(self) -> bool:
        (block, count), *_ = self.remaining_counts.items()
        if not count or {*self.remaining_counts.values()} != {count}:
            return False
        return count == self._counts[block][0] or fits_config(self.resident.model, self.config_entries(count), block)

    def write(self, model: Any) -> None:
        (block, count), *_ = self.remaining_counts.items()
        if count != self._counts[block][0]:
            update_config(model.config, self.config_entries(count))

    def describe(self) -> dict[str, Any]:
        return {self.noun: self.settings.model_dump(mode="json")}


def fits_config(model: Any, entries: Mapping[str, int], block: int = 0) -> bool:
    """Return whether transformers builds ``block`` in the shapes of ``model`` from a config with ``entries``."""
    config = copy.deepcopy(model.config)
    try:
        update_config(config, entries)
        fresh = type(config).from_dict(config.to_dict())  # with the checks of its class
        with torch.device("meta"):
            plain = type(model)(fresh)
        built, expected = (
            {name: parameter.shape for name, parameter in find_blocks(each)[1][block].named_parameters()}
            for each in (plain, model)
        )
        return built == expected
    except Exception:  # model classes and checks of configs raise many kinds of errors
        return False


def update_config(config: Any, entries: Mapping[str, int]) -> None:
    """Set ``entries`` of ``config``."""
    for name, value in entries.items():
        setattr(config.get_text_config(), name, value)
