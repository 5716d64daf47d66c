"""What the inputs of layers look like: their norms and Gram matrices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from problems.pruning.model.blocks import Matrix
from problems.pruning.model.walk import Walk

INPUT_NORMS, GRAM = "input_norms", "gram"
NAMES = frozenset({INPUT_NORMS, GRAM})
"""``input_norms`` ``(in,)``: the Euclidean norm of each input over all tokens. ``gram``
``(in, in)``: the mean over tokens of x x^T. Both float32."""

Sums = dict[str, torch.Tensor]


def gather(
    walk: Walk, block: int, matrices: Sequence[Matrix], names: Collection[str], advance: bool
) -> dict[str, Sums]:
    """The statistics ``names`` of each of ``matrices``, which lie in ``block``, by the matrices' names.

    The model is taken as it stands; ``walk`` stands before ``block``, and after it if it is to ``advance``.
    """
    sums: dict[str, Sums] = {matrix.name: {} for matrix in matrices}
    with ExitStack() as stack:
        for matrix in matrices:
            hook = _adding_to(sums[matrix.name], names)
            stack.callback(matrix.module.register_forward_pre_hook(hook).remove)
        (walk.advance if advance else walk.run)(block)
    return {name: _finished(found, walk.tokens.numel()) for name, found in sums.items()}


def _adding_to(sums: Sums, names: Collection[str]) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
    """A hook that adds up the squares (float64 where the device has it) and products of a layer's inputs."""

    def add(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].flatten(0, -2).float()
        if INPUT_NORMS in names:
            squares = rows.square().sum(0)
            squares = squares if squares.device.type == "mps" else squares.double()
            sums[INPUT_NORMS] = sums[INPUT_NORMS] + squares if INPUT_NORMS in sums else squares
        if GRAM in names:
            if GRAM in sums:
                sums[GRAM].addmm_(rows.T, rows)
            else:
                sums[GRAM] = rows.T @ rows

    return add


def _finished(sums: Sums, tokens: int) -> Sums:
    done = {INPUT_NORMS: lambda squares: squares.sqrt().float(), GRAM: lambda products: products / tokens}
    return {name: done[name](value) for name, value in sums.items()}
