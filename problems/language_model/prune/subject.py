"""The model that is to be made smaller, as it is on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from problems.language_model.foresight import mean_inputs, pace
from problems.language_model.model.blocks import inputs, positions
from problems.language_model.model.device import free_memory
from problems.language_model.resident import Resident

_ANY = 2048
"""Positions that are counted on where a model has no limit."""


@dataclass(frozen=True)
class Subject:
    """What plans depend on.

    ``width``: that of an MLP; ``matrices``: how many have a type in a .gguf file; ``base``: that of the file, if given.
    """

    blocks: int
    kinds: int
    matrices: int
    width: int
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
    base: str | None = None

    @classmethod
    def measured(cls, resident: Resident, tokens: torch.Tensor, loading: float, base: str | None = None) -> Subject:
        """``resident`` on ``tokens``, as :func:`problems.language_model.foresight.pace` takes them."""
        matrices = resident.matrices
        width = next(inputs(sublayer.layers[-1]) for sublayer in resident.sublayers if sublayer.kind == "mlp")
        room = resident.device.type != "cpu" or 8 * resident.prunable_weights < free_memory(resident.device)
        found = pace(resident, tokens, room)
        return cls(
            blocks=1 + matrices[-1].block,
            kinds=len({matrix.kind for matrix in matrices}),
            matrices=len(matrices) + 1,
            width=width,
            inputs=mean_inputs(resident),
            prunable=resident.prunable_weights,
            positions=positions(resident.model) or _ANY,
            scored=found.scored,
            gradients=found.gradients,
            loading=loading,
            base=base,
        )
