"""Finds out in two short runs whether units were told apart as the model's code does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from evoprune import InputError
from problems.models.blocks import probe_tokens
from problems.transforms.units.units import Units

_TOLERANCE = 0.05
"""The largest relative difference: roundings of bfloat16 are far below it, rows of other units far above."""

Split = Callable[[bool], Sequence[Units]]


@torch.no_grad()
def tell_apart(model: Any, split: Split) -> Sequence[Units]:
    """The units of each block that ``split(interleaved)`` gives, in the layout that is the model's.

    Raises :class:`evoprune.InputError` where neither layout is.
    """
    for interleaved in (False, True):
        units = split(interleaved)
        if _agree(model, units):
            return units
    parts = ", ".join(part.matrix.kind for part in units[0].parts)
    raise InputError(
        f"the {units[0].sublayer.kind} of {type(model).__name__} cannot be narrowed: {parts} of block 0 with half of "
        "their units give other outputs than with the other half set to zero",
        "problem.model",
    )


def _agree(model: Any, units: Sequence[Units]) -> bool:
    """Whether half of the units give the same when the others are left out as when they are set to zero."""
    halves = [torch.arange(one.count // 2, one.count, device=model.device) for one in units]
    with ExitStack() as stack:
        for one, half in zip(units, halves, strict=True):
            layer: Any = one.output.matrix.module
            stack.callback(layer.register_forward_pre_hook(_keeping(one, half)).remove)
        expected = _first_output(model, units[0])
    try:
        for one, half in zip(units, halves, strict=True):
            one.narrow(half)
        found = _first_output(model, units[0])
    except (RuntimeError, ValueError, IndexError, TypeError):  # a forward pass that relies on other shapes
        return False
    finally:
        for one in units:
            one.restore()
    return bool((found - expected).norm() <= _TOLERANCE * expected.norm())


def _keeping(units: Units, kept: torch.Tensor) -> Any:
    """A hook that sets the inputs of the output matrix to zero for all units but ``kept``."""

    def mask(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        columns = units.output.places[kept].flatten()
        return (torch.zeros_like(given[0]).index_copy(-1, columns, given[0].index_select(-1, columns)),)

    return mask


def _first_output(model: Any, units: Units) -> torch.Tensor:
    """The first result of the output matrix without its bias, float32: all before it are the same in any run."""
    layer: Any = units.output.matrix.module
    noted: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: noted.append(output))
    try:
        model(input_ids=probe_tokens(model), use_cache=False)
    finally:
        handle.remove()
    return (noted[0] if layer.bias is None else noted[0] - layer.bias).float()
