"""The model that is to be made smaller, as it is on this machine."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch

from evoprune import InputError
from problems.evaluation.cost_estimate import mean_inputs, pace
from problems.models.blocks import in_features, max_positions
from problems.models.device import free_memory
from problems.models.resident import Resident
from problems.transforms.gguf_types.matrices import typed_matrices
from problems.transforms.gguf_types.settings import TypesSettings
from problems.transforms.gguf_types.transform import Types
from problems.transforms.heads.settings import HeadsSettings
from problems.transforms.heads.transform import Heads

_ANY = 2048
"""Positions that are counted on where a model has no limit."""


@dataclass(frozen=True)
class Subject:
    """What plans depend on.

    ``width``: that of an MLP, None where blocks cannot be taken apart; ``heads``: whether these can go; ``matrices``:
    how many have a type in a .gguf file, and ``quantising``: the seconds that this takes, both 0 unless ``one_file``,
    where the result is to be such a file; ``base``: that of the file, if given.
    """

    blocks: int
    kinds: int
    matrices: int
    width: int | None
    heads: bool
    inputs: float
    """Of the layer of a weight, on the average."""
    prunable: int
    positions: int
    """The most tokens that the model reads at once."""
    scored: float
    """Seconds for each token."""
    gradients: float | None
    """The same with gradients; None if there is no memory for them."""
    loading: float
    """Seconds."""
    quantising: float = 0.0
    one_file: bool = False
    base: str | None = None

    @classmethod
    def measured(
        cls, resident: Resident, tokens: torch.Tensor, loading: float, one_file: bool, base: str | None = None
    ) -> Subject:
        """``resident`` on ``tokens``, as :func:`problems.evaluation.cost_estimate.pace` takes them."""
        matrices = resident.matrices
        quantising = Types.needs_of(resident, TypesSettings()).quantising if one_file else 0.0
        room = resident.device.type != "cpu" or 8 * resident.prunable_weights < free_memory(resident.device)
        found = pace(resident, tokens, room)
        return cls(
            blocks=1 + matrices[-1].block,
            kinds=len({matrix.kind for matrix in matrices}),
            matrices=len(typed_matrices(resident)) if one_file else 0,
            width=_width(resident),
            heads=_has_heads(resident),
            inputs=mean_inputs(resident),
            prunable=resident.prunable_weights,
            positions=max_positions(resident.model) or _ANY,
            scored=found.scored,
            gradients=found.gradients,
            loading=loading,
            quantising=quantising / torch.get_num_threads(),
            one_file=one_file,
            base=base,
        )


def _has_heads(resident: Resident) -> bool:
    with suppress(InputError):
        Heads.of_shapes(resident, HeadsSettings())
        return True
    return False


def _width(resident: Resident) -> int | None:
    with suppress(InputError):
        return next(in_features(sublayer.layers[-1]) for sublayer in resident.sublayers if sublayer.kind == "mlp")
    return None
