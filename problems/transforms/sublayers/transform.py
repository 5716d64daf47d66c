"""The cut in depth as a transform: dropped sublayers do not run at all."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from evoprune import Gene, Genes, InputError, Price
from problems.models.blocks import keep_blocks
from problems.models.resident import Resident
from problems.models.sublayers import KINDS, Sublayer, set_dropped
from problems.texts.text_splits import Texts
from problems.transforms.removal import Removal
from problems.transforms.sublayers.settings import SublayersSettings
from problems.transforms.transform import ATTENTION, PARAMETERS, WEIGHTS, at_share, unknown_unit

LEVELS = ("keep", "drop")

_COUNTS = {
    WEIGHTS: attrgetter("weights"),
    PARAMETERS: attrgetter("parameters"),
    ATTENTION: attrgetter("attention_width"),
}


class Sublayers(Removal):
    """Drop the attention or the MLP of a block, or whole blocks.

    As in EvoPress (Sieberling et al., ICML 2025, section 4.1) and EvoP (Wu et al., 2025), which drop sublayers and
    whole blocks.
    """

    Settings = SublayersSettings
    settings: SublayersSettings

    def __init__(self, resident: Resident, settings: SublayersSettings, texts: Texts) -> None:
        super().__init__(resident, settings, texts)
        self._sublayers = resident.sublayers
        self._units = _units(self._sublayers, settings.genes)
        kept = self._protected(settings.keep)
        self._genes = Genes([_gene(name, unit, unit[0].block in kept) for name, unit in self._units.items()])
        if not self._genes.free:
            raise InputError("keep protects every block, so that nothing is left to drop", "problem.transforms.keep")
        self._dropped: set[tuple[int, str]] = set()

    @property
    def parts(self) -> frozenset[str]:
        """Attentions and MLPs, but not what they are made of."""
        return frozenset(KINDS)

    def uniform(self, share: float) -> list[float]:
        """The same share of the attentions as of the MLPs, at even distances."""
        genome = self.dense
        for kind in {unit[0].kind: None for unit in self._units.values()}:
            places = [place for place, unit in enumerate(self._units.values()) if unit[0].kind == kind]
            for place, value in zip(places, at_share([self._genes[place] for place in places], share), strict=True):
                genome[place] = value
        return genome

    def apply(self, genome: Sequence[float]) -> None:
        """Remove and restore the modules of the blocks that changed."""
        before = self._dropped
        self._dropped = {
            (sublayer.block, sublayer.kind)
            for value, unit in zip(genome, self._units.values(), strict=True)
            if value
            for sublayer in unit
        }
        for sublayer in self._sublayers:
            key = (sublayer.block, sublayer.kind)
            if (key in before) != (key in self._dropped):
                set_dropped(self._blocks[sublayer.block], sublayer, dropped=key in self._dropped)

    def marks(self) -> Sequence[tuple[str, ...]]:
        """The kinds of sublayers that each block has lost."""
        return [tuple(kind for kind in KINDS if (block, kind) in self._dropped) for block in range(len(self._blocks))]

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """Dropping saves what the sublayers hold, or the width of their attentions."""
        if unit not in _COUNTS:
            raise unknown_unit(self, unit, list(_COUNTS))
        sizes = [sum(map(_COUNTS[unit], members)) for members in self._units.values()]
        total = self.resident.parameters if unit == PARAMETERS else sum(sizes)
        prices: list[Price] = [
            [0.0, -float(size)] if gene.free else [0.0] for size, gene in zip(sizes, self._genes, strict=True)
        ]
        return prices, float(total)

    @property
    def plain(self) -> bool:
        """Whether each block is whole or gone, and one is left."""
        return {len(kinds) for kinds in self.marks()} in ({0}, {0, len(KINDS)})

    def write(self, model: Any) -> None:
        """Leave the dropped blocks out: a smaller model of the same class."""
        keep_blocks(model, [block for block, kinds in enumerate(self.marks()) if not kinds])

    def describe(self) -> dict[str, Any]:
        """What a gene removes, and which blocks are always kept."""
        return {"dropped": self.settings.genes, "kept_blocks": list(self.settings.keep)}


def _units(sublayers: Sequence[Sublayer], genes: str) -> dict[str, list[Sublayer]]:
    """The sublayers that each gene keeps or drops together, by the gene's name."""
    units: dict[str, list[Sublayer]] = {}
    for sublayer in sublayers:
        name = f"block {sublayer.block}" if genes == "block" else f"{sublayer.kind} {sublayer.block}"
        units.setdefault(name, []).append(sublayer)
    return units


def _gene(name: str, unit: Sequence[Sublayer], protected: bool) -> Gene:
    return Gene.of_levels(name, LEVELS[:1] if protected else LEVELS, group=f"block {unit[0].block}")
