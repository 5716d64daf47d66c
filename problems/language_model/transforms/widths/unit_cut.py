"""The base of ``heads`` and ``channels``: a gene for each block is the number of units that stay."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn

from evoprune import Gene, InputError
from evoprune.problems.language_model.models.blocks import Matrix, find_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import registered
from evoprune.problems.language_model.models.sublayers import Kind, Sublayer, set_dropped
from evoprune.problems.language_model.scores import SCORES, find_score, needs
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import ATTENTION, PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.part_cut import PartCut, PartCutSettings
from evoprune.problems.language_model.transforms.sublayers import protected
from evoprune.problems.language_model.transforms.widths.unit_order import STRUCTURED, UnitOrder
from evoprune.problems.language_model.transforms.widths.units import Units, tell_apart


class UnitsSettings(PartCutSettings):
    """The order of units, the blocks that lose none, and whether remaining weights are refitted."""

    score: Annotated[str, registered(SCORES, STRUCTURED)] = Field(
        "magnitude",
        description="ranks the units by the sum of the scores of their weights, the lowest are removed first: "
        f"magnitude, wanda, ria, obs, taylor, fisher, gblm; or {STRUCTURED}: by the loss of the output matrix without "
        "them once it is refitted",
    )
    drop: bool = Field(
        True, description="whether the last level drops the sublayer with its norm; else it keeps the fewest units"
    )
    compensate: bool = Field(
        False,
        description="refit the output matrix of a narrower sublayer on the calibration text, by least squares, to the "
        "outputs of the dense one",
    )


class UnitCut(PartCut):
    """Leave units out of the attention or of the MLP of each block. Subclasses define a unit."""

    kind: ClassVar[Kind]
    """The sublayer that is made of units."""

    Settings = UnitsSettings
    settings: UnitsSettings

    def __init__(self, resident: Resident, settings: UnitsSettings, texts: Texts | None) -> None:
        if texts is None:  # any units may stay
            settings = settings.model_copy(update={"score": "magnitude", "compensate": False})
        super().__init__(resident, settings, texts)
        self._blocks = list(find_blocks(resident.model)[1])
        self._units = self._find_units()
        kept, end = protected(settings.keep, len(self._blocks)), None if settings.drop else -1
        counts = {at: list(self.steps(units))[: 1 if at in kept else end] for at, units in enumerate(self._units)}
        self._govern(counts, [*counts], kept)
        calibration = self.texts.calibration if self.calibrates(settings) else None
        self.order = UnitOrder(resident, settings, self.noun, self._units, calibration, cached=texts is not None)

    @abstractmethod
    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        """Return the units of ``sublayer``, see :func:`.units.split`."""

    @abstractmethod
    def steps(self, units: Units) -> Sequence[int]:
        """The numbers of ``units`` that stay, one for each level: from all down to 0."""

    @abstractmethod
    def size(self, units: Units) -> int:
        """The number of heads or channels in one of ``units``."""

    @classmethod
    def calibrates(cls, settings: UnitsSettings) -> bool:
        return settings.compensate or settings.score == STRUCTURED or bool(needs(find_score(settings.score)))

    @property
    def parts(self) -> frozenset[str]:
        """The units, and whether their sublayer is there, if the last level drops it."""
        return frozenset({f"{self.kind} {self.noun}"} | ({self.kind} if self.settings.drop else set()))

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        return {
            self._units[block].output.matrix.name: self.order.columns(block, count)
            for block, count in self.counts_of(genome).items()
            if 0 < count < self._units[block].count
        }

    def _removed(self, block: int, count: int, unit: str) -> int:
        units = self._units[block]
        one, whole = {
            WEIGHTS: (units.weights, units.sublayer_weights),
            PARAMETERS: (units.parameters, units.sublayer_parameters),
            ATTENTION: (units.attention_width // units.count, units.attention_width),
        }[unit]
        return (units.count - count) * one if count else whole

    def _set(self, block: int, count: int) -> None:
        units = self._units[block]
        if 0 < count < units.count:  # first, as refitting may fail
            output = self.order.refitted(block, count) if self.settings.compensate else None
            units.narrow(self.order.kept(block, count), output)
        else:
            units.restore()
        if bool(count) != bool(self.remaining[block]):
            set_dropped(self._blocks[block], units.sublayer, dropped=not count)

    def _gene(self, name: str, blocks: Sequence[int]) -> Gene:
        counts, size = self._part_counts[blocks[0]], self.size(self._units[blocks[0]])
        harms = self.order.harms(blocks[0], counts) if self.settings.compensate and len(blocks) == 1 else []
        gene = super()._gene(name, blocks)
        return Gene.of_levels(name, [count * size for count in counts], gene.group, harms)

    def _find_units(self) -> Sequence[Units]:
        model, mixtures = self.resident.model, self.resident.mixtures
        if self.kind == "mlp" and mixtures:
            raise InputError(
                f"the MLP of block {mixtures[0].block} is a mixture of experts: use the transform experts",
                "problem.transforms",
            )
        matrices = {matrix.module: matrix for matrix in self.resident.matrices}
        sublayers = [sublayer for sublayer in self.resident.sublayers if sublayer.kind == self.kind]
        return tell_apart(model, lambda interleaved: [self.split(each, matrices, interleaved) for each in sublayers])
