"""The transforms ``heads`` and ``channels``: narrower attentions and MLPs."""

from collections.abc import Mapping, Sequence

from pydantic import Field
from torch import nn

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.sublayers import Sublayer
from evoprune.problems.language_model.transforms.widths.unit_cut import UnitCut, UnitsSettings
from evoprune.problems.language_model.transforms.widths.units import Units, split


class Heads(UnitCut):
    """Leave heads of attentions out; the last level drops the attention::

        transforms: {use: heads, score: structured_obs, compensate: true, keep: [0, -1]}

    A head's rows in the matrices of queries, keys and values go, and the columns of the output matrix that read it.
    Where query heads share keys and values (grouped-query attention, Ainslie et al., EMNLP 2023), they go together.
    """

    kind = "attention"
    noun = "heads"

    def split(self, sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], interleaved: bool) -> Units:
        heads, groups = self._heads_and_groups
        output = matrices[sublayer.layers[-1]]
        width = output.rows(output.weight).shape[1]
        if heads % groups or width % heads:
            raise InputError(
                f"the attention of block {sublayer.block} cannot be narrowed: {output.kind} has {width} inputs for "
                f"{heads} heads in {groups} groups",
                "problem.model",
            )
        query, key = width // groups, width // heads
        return split(sublayer, matrices, groups, [[query], [key], [query, key, key]], interleaved)

    def steps(self, units: Units) -> Sequence[int]:
        return range(units.count, -1, -1)

    def size(self, units: Units) -> int:
        return self._heads_and_groups[0] // units.count

    def form(self, count: int) -> Mapping[str, int]:
        heads, groups = self._heads_and_groups
        size = self._units[0].output.places.shape[1] * groups // heads
        entries = {
            "num_attention_heads": count * heads // groups,
            "head_dim": size,
        }  # some read head_dim
        grouped = hasattr(self.resident.model.config.get_text_config(), "num_key_value_heads")
        return entries | ({"num_key_value_heads": count} if grouped else {})

    @property
    def _heads_and_groups(self) -> tuple[int, int]:
        config = self.resident.model.config.get_text_config()
        heads: int = config.num_attention_heads
        return heads, getattr(config, "num_key_value_heads", None) or heads


WIDTHS = ("intermediate_size", "n_inner", "ffn_dim")  # names of the width of an MLP in configs


class ChannelsSettings(UnitsSettings):
    """The number of channels that one level removes."""

    step: int = Field(
        32, ge=32, description="channels between two levels, at least 32: fewer do not fit quantised and vector kernels"
    )


class Channels(UnitCut):
    """Leave channels of MLPs out, in steps; the last level drops the MLP::

        transforms: {use: channels, step: 64, score: wanda}

    One column of the output matrix reads a channel. Its rows in the other matrices, and their biases, go too.
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
            raise InputError(f"step {step} does not divide the MLPs' {units.count} channels", "problem.transforms.step")
        return range(units.count, -1, -step)

    def size(self, units: Units) -> int:  # noqa: ARG002 - a unit is a channel
        return 1

    def form(self, count: int) -> Mapping[str, int]:
        config = self.resident.model.config.get_text_config()
        return {name: count for name in WIDTHS if hasattr(config, name)}
