"""Statistics of the inputs of layers: norms and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from evoprune import InputError
from problems.models.blocks import Matrix
from problems.models.device import sum_dtype
from problems.models.forward import Walk

INPUT_NORMS = "input_norms"  # (in,), float32: the Euclidean norm of each input over all tokens
GRAM = "gram"  # (in, in), float32: the mean over tokens of x x^T
NAMES = frozenset({INPUT_NORMS, GRAM})

Sums = dict[str, torch.Tensor]


def gather(
    walk: Walk, block: int, matrices: Sequence[Matrix], names: Collection[str], advance: bool
) -> dict[str, Sums]:
    """Return the statistics ``names`` of each of ``matrices``, all in ``block``, by the matrices' names.

    ``walk`` is before ``block``, and moves to the next with ``advance``. Inputs that are not finite are refused, as
    float16 may overflow.
    """
    sums: dict[str, Sums] = {matrix.name: {} for matrix in matrices}
    products = _Products()
    with ExitStack() as stack:
        for matrix in matrices:
            hook = _adding_to(sums[matrix.name], names, products)
            stack.callback(matrix.module.register_forward_pre_hook(hook).remove)
        (walk.advance if advance else walk.run)(block)
    for name, found in sums.items():
        if not all(bool(torch.isfinite(value).all()) for value in found.values()):
            raise InputError(f"problem.dtype: the inputs of {name} are not finite; use bfloat16 or float32")
    return {name: _finished(found, walk.tokens.numel()) for name, found in sums.items()}


class _Products:
    """Products of a batch's inputs with themselves, computed once for layers that share the inputs."""

    def __init__(self) -> None:
        self._inputs, self._products = torch.empty(0), torch.empty(0)

    def of(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return x^T x of ``inputs`` ``(..., in)``, float32 ``(in, in)``; must not be changed."""
        if inputs is not self._inputs:
            rows = inputs.flatten(0, -2).float()
            self._inputs, self._products = inputs, rows.T @ rows
        return self._products


def _adding_to(
    sums: Sums, names: Collection[str], products: _Products
) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
    """Return a hook that adds up squares (float64 where the device has it) and products of a layer's inputs."""

    def add(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if INPUT_NORMS in names:
            squares = inputs[0].flatten(0, -2).float().square().sum(0)
            squares = squares.to(sum_dtype(squares.device))
            sums[INPUT_NORMS] = sums[INPUT_NORMS] + squares if INPUT_NORMS in sums else squares
        if GRAM in names:
            found = products.of(inputs[0])
            sums[GRAM] = sums[GRAM].add_(found) if GRAM in sums else found.clone()

    return add


def _finished(sums: Sums, tokens: int) -> Sums:
    done = {INPUT_NORMS: lambda squares: squares.sqrt().float(), GRAM: lambda products: products / tokens}
    return {name: done[name](value) for name, value in sums.items()}
