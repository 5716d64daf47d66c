"""The transforms ``heads`` and ``channels``: narrower attentions and MLPs."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from evoprune import Gene, InputError
from evoprune.problems.language_model.models.blocks import Matrix, find_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.sublayers import Kind, Sublayer, set_dropped
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.structured import StructuredPruning, StructuredSettings
from evoprune.problems.language_model.transforms.widths.unit_order import UnitOrder
from evoprune.problems.language_model.transforms.widths.units import Units, find_layout, split

WIDTHS = ("intermediate_size", "n_inner", "ffn_dim")  # names of the width of an MLP in configs


class WidthSettings(StructuredSettings):
    """The genes, the blocks that are not pruned, and the last level."""

    drop: bool = Field(
        True, description="whether the last level drops the sublayer with its norm; else it keeps the fewest units"
    )


class WidthPruning(StructuredPruning):
    """Remove units of the attention or of the MLP of each block, the least important first. Subclasses define a unit.

    The output matrix is refitted to the outputs of the dense sublayer on the calibration text; see :mod:`.unit_order`.
    """

    kind: ClassVar[Kind]
    """The sublayer whose units are removed."""

    Settings = WidthSettings
    settings: WidthSettings

    def __init__(self, resident: Resident, settings: WidthSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self._blocks = list(find_blocks(resident.model)[1])
        if self.kind == "mlp" and (mixtures := resident.mixtures):
            why = f"the MLP of block {mixtures[0].block} is a mixture of experts: use the transform experts"
            raise InputError(why, "problem.transforms")
        matrices = {matrix.module: matrix for matrix in resident.matrices}
        sublayers = [sublayer for sublayer in resident.sublayers if sublayer.kind == self.kind]
        self._units = find_layout(
            resident.model, lambda interleaved: [self.split(each, matrices, interleaved) for each in sublayers]
        )
        end = None if settings.drop else -1
        self._set_units({at: units.costs(list(self.counts(units))[:end]) for at, units in enumerate(self._units)})
        self.order = UnitOrder(resident, self.noun, self._units, texts)

    @abstractmethod
    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        """Return the units of ``sublayer``, see :func:`.units.split`."""

    @abstractmethod
    def counts(self, units: Units) -> Sequence[int]:
        """Return the number of ``units`` that remain at each level: from all down to 0."""

    def unit_size(self, units: Units) -> int:  # noqa: ARG002 - a unit is a channel
        """Return the number of heads or channels in one of ``units``."""
        return 1

    @property
    def parts(self) -> frozenset[str]:
        """The units, and their sublayer if the last level drops it."""
        return frozenset({f"{self.kind} {self.noun}"} | ({self.kind} if self.settings.drop else set()))

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:
        return {
            self._units[block].output.matrix.name: self.order.remaining_inputs(block, count)
            for block, count in self.counts_of(genome).items()
            if 0 < count < self._units[block].count
        }

    def _resize(self, block: int, count: int) -> None:
        units = self._units[block]
        if 0 < count < units.count:  # first, as refitting may fail
            output = self.order.refitted_output(block, count)
            units.narrow(self.order.remaining(block, count), output)
        else:
            units.restore()
        if bool(count) != bool(self.remaining_counts[block]):
            set_dropped(self._blocks[block], units.sublayer, dropped=not count)

    def _gene(self, name: str, blocks: Sequence[int]) -> Gene:
        counts, size = self._counts[blocks[0]], self.unit_size(self._units[blocks[0]])
        level_losses = self.order.level_losses(blocks[0], counts) if len(blocks) == 1 else []
        return Gene.of_levels(name, [count * size for count in counts], level_losses)


class Heads(WidthPruning):
    """Remove heads of attentions; the last level drops the attention::

        transforms: {use: heads, keep: [0, -1]}

    A head's rows are removed from the matrices of queries, keys and values, and its columns from the output matrix.
    Query heads that share keys and values (grouped-query attention, Ainslie et al., EMNLP 2023) are removed together.
    """

    kind = "attention"
    noun = "heads"

    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        heads, groups = self._heads_and_groups
        output = matrices[sublayer.layers[-1]]
        width = output.rows(output.weight).shape[1]
        if heads % groups or width % heads:
            why = f"{output.kind} has {width} inputs for {heads} heads in {groups} groups"
            raise InputError(f"the attention of block {sublayer.block} cannot be narrowed: {why}", "problem.model")
        query, key = width // groups, width // heads
        return split(sublayer, matrices, groups, [[query], [key], [query, key, key]], interleaved)

    def counts(self, units: Units) -> Sequence[int]:
        return range(units.count, -1, -1)

    def unit_size(self, units: Units) -> int:
        return self._heads_and_groups[0] // units.count

    def config_entries(self, count: int) -> Mapping[str, int]:
        heads, groups = self._heads_and_groups
        size = self._units[0].output.indices.shape[1] * groups // heads
        entries = {"num_attention_heads": count * heads // groups, "head_dim": size}  # some read head_dim
        grouped = hasattr(self.resident.model.config.get_text_config(), "num_key_value_heads")
        return entries | ({"num_key_value_heads": count} if grouped else {})

    @property
    def _heads_and_groups(self) -> tuple[int, int]:
        config = self.resident.model.config.get_text_config()
        heads: int = config.num_attention_heads
        return heads, getattr(config, "num_key_value_heads", None) or heads


class ChannelsSettings(WidthSettings):
    """The number of channels that one level removes."""

    step: int = Field(
        32, ge=32, description="channels between two levels, at least 32: fewer do not fit quantised and vector kernels"
    )


class Channels(WidthPruning):
    """Remove channels of MLPs, in steps; the last level drops the MLP::

        transforms: {use: channels, step: 64}

    A channel is a column of the output matrix, and a row with its bias in each of the other matrices.
    """

    kind = "mlp"
    noun = "channels"
    Settings = ChannelsSettings
    settings: ChannelsSettings

    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        output = matrices[sublayer.layers[-1]]
        width = output.rows(output.weight).shape[1]
        return split(sublayer, matrices, width, [[1], [1, 1]], interleaved)

    def counts(self, units: Units) -> Sequence[int]:
        step = self.settings.step
        if units.count % step:
            raise InputError(f"step {step} does not divide the MLPs' {units.count} channels", "problem.transforms.step")
        return range(units.count, -1, -step)

    def config_entries(self, count: int) -> Mapping[str, int]:
        config = self.resident.model.config.get_text_config()
        return {name: count for name in WIDTHS if hasattr(config, name)}
