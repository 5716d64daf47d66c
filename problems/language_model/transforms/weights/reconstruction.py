"""Updates the remaining weights: of the result, block by block, or of each layer at some sparsities before a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.statistics import BATCH_TOKENS, GRAM, block_statistics, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint, Tensors
from evoprune.problems.language_model.calibration.update import inverse_factor, update
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.device import fitting_threads, map_in_threads
from evoprune.problems.language_model.models.forward import Walk
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.weights.masks import (
    BASE,
    BINS,
    Masks,
    at_stage,
    bins,
    ranks_in_matrix,
    threshold_at,
)

_COPIES = 16  # of a matrix in float32, with its Gram matrix and factors, while it is updated


@torch.no_grad()
def reconstruct(resident: Resident, masks: Masks, tokens: torch.Tensor) -> None:
    """Update the remaining weights of the whole model, masked by ``masks``, block by block.

    The Gram matrices of a block's inputs are measured on ``tokens`` ``(windows, window)``, the calibration text, with
    the block still dense and earlier blocks updated, as in SparseGPT's code. An interrupted reconstruction is resumed.
    """
    walk = Walk(resident.forward, tokens, BATCH_TOKENS)
    blocks = [(block, list(members)) for block, members in groupby(resident.matrices, key=lambda m: m.block)]
    try:
        with Checkpoint("reconstructing", len(blocks)) as checkpoint:
            updated = dict(checkpoint.tensors)
            for place, (block, matrices) in enumerate(steps(blocks, "reconstructing", "block")):
                if place < checkpoint.done:
                    for matrix in matrices:
                        matrix.weight.copy_(updated[matrix.name])
                else:
                    _update_block(masks, walk, block, matrices)
                    updated |= {matrix.name: matrix.weight.detach() for matrix in matrices}
                    checkpoint.step(updated)
                walk.advance(block)
    finally:
        masks.invalidate()


def _update_block(masks: Masks, walk: Walk, block: int, matrices: Sequence[Matrix]) -> None:
    for matrix in matrices:
        matrix.weight.copy_(masks.original(matrix))
    grams = block_statistics(walk, block, matrices, {GRAM}, advance=False)

    @torch.no_grad()  # each thread has its own
    def update_one(matrix: Matrix) -> None:
        gram = grams.pop(matrix.name)[GRAM]
        if removed := int((~masks.mask(matrix)).sum()):
            updated = update(matrix.rows(matrix.weight), gram, inverse_factor(gram), removed)
            matrix.weight.copy_(matrix.rows(updated))

    largest = sorted(matrices, key=lambda matrix: -matrix.size)  # first, so that threads end at a similar time
    threads = fitting_threads(largest[0].weight.device, 4 * _COPIES * largest[0].size)
    for _ in map_in_threads(update_one, largest, threads):
        pass


@torch.no_grad()
def reconstruct_at_stages(
    stages: Sequence[float], model: Any, matrices: Sequence[Matrix], tokens: torch.Tensor,
    stored: Mapping[str, torch.Tensor],
) -> Tensors:  # fmt: skip
    """Return the updated weights of ``matrices`` and their bins at each of the ``stages``, sparsities, as in EvoPress.

    Layers of the dense ``model`` are updated for their inputs on ``tokens`` ``(windows, window)``. ``stored``: the
    original weights. A weight that a stage removes is stored with its original value, in a bin below all remaining
    weights, so that other thresholds than the stage's remove or restore weights, and the number removed is exact.
    Weights are ranked by SparseGPT's w^2 / [H^-1]_jj.
    """
    at_stages: Tensors = {}
    for matrix, of_inputs in statistics(model, tokens, matrices, {GRAM}, "reconstructing stages"):
        gram = of_inputs[GRAM]
        factor, base = inverse_factor(gram), stored[BASE + matrix.name].to(gram.device)
        variances = matrix.rows(factor.square().sum(0, keepdim=True))  # the inverse's diagonal
        for stage in stages:
            removed = threshold_at(stage, matrix.size)[1]
            updated = matrix.rows(update(matrix.rows(base), gram, factor, removed))
            mask = updated != 0
            score = torch.where(mask, updated, base) ** 2 / variances
            ranks = ranks_in_matrix(ranks_in_matrix(score) + mask * score.numel())
            at_stages[at_stage(stage, BINS + matrix.name)] = bins(ranks)
            weight = torch.where(mask, updated.to(base.dtype), base)
            at_stages[at_stage(stage, BASE + matrix.name)] = weight.contiguous()
    return at_stages
