"""The transform ``sublayers``: drops the attention or the MLP of a block, or the whole block."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from evoprune import Gene, Genes, InputError, Settings
from evoprune.problems.language_model.models.blocks import find_blocks, keep_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.sublayers import KINDS, Sublayer, set_dropped
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS, Prices, dense_cost
from evoprune.problems.language_model.transforms.transform import Transform, at_share


class SublayersSettings(Settings):
    """The sublayers that a gene drops, and the blocks that are not pruned."""

    genes: Literal["sublayer", "block"] = Field(
        "sublayer", description="what a gene keeps or drops: the attention or the MLP of a block, or the whole block"
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks always kept, counted from 0; -1 is the last: [0, -1] keeps the first and the last"
    )


class Sublayers(Transform):
    """Drop the attention or the MLP of a block, or whole blocks; dropped sublayers are not computed::

        transforms: {use: sublayers, genes: block, keep: [0, -1]}

    As in EvoPress (Sieberling et al., ICML 2025, section 4.1) and EvoP (Wu et al., 2025).
    """

    Settings = SublayersSettings
    settings: SublayersSettings
    units = (WEIGHTS, PARAMETERS)

    def __init__(self, resident: Resident, settings: SublayersSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self._blocks = list(find_blocks(resident.model)[1])
        self._groups: dict[str, list[Sublayer]] = {}
        """The sublayers of each gene, by its name."""
        for sublayer in resident.sublayers:
            kind = "block" if settings.genes == "block" else sublayer.kind
            self._groups.setdefault(f"{kind} {sublayer.block}", []).append(sublayer)
        kept = kept_blocks(settings.keep, len(self._blocks))
        self._genes = Genes(
            Gene.of_levels(name, ("keep", "drop")[: 1 + (group[0].block not in kept)])
            for name, group in self._groups.items()
        )
        if not self._genes.free:
            raise InputError("keep protects every block, so that nothing is left to drop", "problem.transforms.keep")
        self._dropped: set[tuple[int, str]] = set()

    @property
    def parts(self) -> frozenset[str]:
        return frozenset(KINDS)

    @property
    def genes(self) -> Genes:
        return self._genes

    def uniform(self, share: float) -> list[float]:
        genome, kinds = self.dense, [group[0].kind for group in self._groups.values()]
        for kind in dict.fromkeys(kinds):
            places = [place for place, other in enumerate(kinds) if other == kind]
            for place, value in zip(places, at_share([self._genes[place] for place in places], share), strict=True):
                genome[place] = value
        return genome

    def apply(self, genome: Sequence[float]) -> None:
        before = self._dropped
        groups = zip(genome, self._groups.values(), strict=True)
        self._dropped = {(member.block, member.kind) for value, group in groups if value for member in group}
        for sublayer in self.resident.sublayers:
            key = (sublayer.block, sublayer.kind)
            if (key in before) != (key in self._dropped):
                set_dropped(self._blocks[sublayer.block], sublayer, dropped=key in self._dropped)

    def block_fingerprints(self) -> Sequence[tuple[str, ...]]:
        return [tuple(kind for kind in KINDS if (block, kind) in self._dropped) for block in range(len(self._blocks))]

    def prices(self, unit: str) -> Prices:
        sizes = [sum(getattr(sublayer, unit) for sublayer in group) for group in self._groups.values()]
        prices = [[0.0, -float(size)][: len(gene.levels)] for size, gene in zip(sizes, self._genes, strict=True)]
        return prices, dense_cost(self.resident, unit)

    @property
    def plain(self) -> bool:
        return {len(kinds) for kinds in self.block_fingerprints()} in ({0}, {0, len(KINDS)})

    def write(self, model: Any) -> None:
        keep_blocks(model, [block for block, kinds in enumerate(self.block_fingerprints()) if not kinds])

    def describe(self) -> dict[str, Any]:
        return {"dropped": self.settings.genes, "kept_blocks": list(self.settings.keep)}


def kept_blocks(keep: Sequence[int], count: int) -> set[int]:
    """Return the blocks ``keep``, of ``count``, counted from 0. Raises :class:`evoprune.InputError`."""
    for block in keep:
        if not -count <= block < count:
            raise InputError(f"there is no block {block} of {count}", "problem.transforms.keep")
    return {block % count for block in keep}
