"""Statistics of each layer of the dense model, block by block, on calibration text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch

from evoprune import steps
from problems.calibration import activations, gradients
from problems.calibration.activations import INPUT_NORMS
from problems.calibration.checkpoint import Checkpoint
from problems.models.blocks import Matrix
from problems.models.forward import Forward, Walk

BATCH_TOKENS = 2048  # in one forward pass; another number changes rounding only

Statistics = dict[str, torch.Tensor]


def statistics(
    model: Any,
    tokens: torch.Tensor,
    matrices: Sequence[Matrix],
    names: Collection[str],
    label: str = "calibrating",
) -> Iterator[tuple[Matrix, Statistics]]:
    """Yield each of ``matrices``, ordered by block, with its statistics ``names`` on ``tokens`` ``(windows, window)``.

    Activations of only one block are held at a time. The model runs once for activations and once for gradients.
    ``label`` describes the work to people. Interrupted sums of gradients and norms of inputs are continued, but not
    Gram matrices, of which too many would have to be held.
    """
    activation_names, gradient_names = activations.NAMES & set(names), gradients.NAMES & set(names)
    of_gradients = gradients.gather(model, tokens, matrices, gradient_names) if gradient_names else {}
    walk = Walk(Forward(model), tokens, BATCH_TOKENS) if activation_names else None
    blocks = [(block, list(members)) for block, members in groupby(matrices, key=lambda matrix: matrix.block)]
    of_what = ", ".join([*sorted(names), *(matrix.name for matrix in matrices)])
    with Checkpoint(label, len(blocks), of_what) as so_far:
        done = [matrix for _, of_block in blocks[: so_far.done] for matrix in of_block]
        norms = {m.name: so_far.tensors[m.name].to(m.weight.device, copy=True) for m in done}
        if walk and done:
            walk.restore(so_far.tensors)
        for place, (block, of_block) in enumerate(steps(blocks, label, "block")):
            found: dict[str, Statistics] = {}
            if place < so_far.done:
                found = {matrix.name: {INPUT_NORMS: norms[matrix.name]} for matrix in of_block}
            elif walk:
                found = activations.gather(walk, block, of_block, activation_names, advance=True)
                if activation_names == {INPUT_NORMS}:
                    norms |= {matrix.name: found[matrix.name][INPUT_NORMS] for matrix in of_block}
                    so_far.step(norms | walk.states)
            for matrix in of_block:
                yield matrix, found.get(matrix.name, {}) | of_gradients.pop(matrix.name, {})
