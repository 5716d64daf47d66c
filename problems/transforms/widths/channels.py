"""The transform ``channels``: the MLPs of some blocks get narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import nn

from evoprune import InputError
from problems.models.blocks import Matrix
from problems.models.sublayers import Sublayer
from problems.transforms.widths.unit_cut import UnitCut, UnitsSettings
from problems.transforms.widths.units import Units, split

WIDTHS = ("intermediate_size", "n_inner", "ffn_dim")  # names of the width of an MLP in configs


class ChannelsSettings(UnitsSettings):
    """The number of channels that one level removes."""

    step: int = Field(
        32, ge=32, description="channels between two levels, at least 32: fewer do not fit quantised and vector kernels"
    )


class Channels(UnitCut):
    """Leave channels of MLPs out, in steps; the last level drops the MLP.

    A channel is what one column of the output matrix reads. Its rows in the other matrices, and their biases, go too.
    """

    kind = "mlp"
    noun = "channels"
    Settings = ChannelsSettings
    settings: ChannelsSettings

    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        output = matrices[sublayer.layers[-1]]
        width = output.rows(output.weight).shape[1]
        return split(sublayer, matrices, width, [[1], [1, 1]], interleaved)

    def steps(self, units: Units) -> Sequence[int]:
        step = self.settings.step
        if units.count % step:
            raise InputError(
                f"step {step} does not divide the width of the MLPs, {units.count}", "problem.transforms.step"
            )
        return range(units.count, -1, -step)

    def size(self, units: Units) -> int:  # noqa: ARG002 - a unit is a channel
        return 1

    def form(self, left: int) -> Mapping[str, int]:
        config = self.resident.model.config.get_text_config()
        return {name: left for name in WIDTHS if hasattr(config, name)}
