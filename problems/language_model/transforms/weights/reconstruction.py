"""Updates the remaining weights: of the result, block by block, or of each layer at some sparsities beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration.statistics import BATCH_TOKENS, GRAM, block_statistics, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint, Tensors
from evoprune.problems.language_model.calibration.update import inverse_factor, update
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.device import fitting_threads, map_in_threads
from evoprune.problems.language_model.models.forward import Walk
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.weights.masks import (
    BASE,
    LEVEL,
    Masks,
    at_stage,
    cut_at,
    levels,
    ranks_in_matrix,
)

_COPIES = 16  # of a matrix in float32, with its Gram matrix and factors, while it is updated


@torch.no_grad()
def reconstruct(resident: Resident, masks: Masks, tokens: torch.Tensor) -> None:
    """Update the remaining weights of the whole model, as ``masks`` cuts it now, block after block.

    The Gram matrices of a block's inputs are taken on ``tokens`` ``(windows, window)``, the calibration text, with the
    block still dense and the blocks before it updated, as in SparseGPT's code. An interrupted reconstruction goes on.
    """
    walk = Walk(resident.forward, tokens, BATCH_TOKENS)
    blocks = [(block, list(members)) for block, members in groupby(resident.matrices, key=lambda m: m.block)]
    try:
        with Checkpoint("reconstructing", len(blocks)) as so_far:
            updated = dict(so_far.tensors)
            for place, (block, matrices) in enumerate(steps(blocks, "reconstructing", "block")):
                if place < so_far.done:
                    for matrix in matrices:
                        matrix.weight.copy_(updated[matrix.name])
                else:
                    _update_block(masks, walk, block, matrices)
                    updated |= {matrix.name: matrix.weight.detach() for matrix in matrices}
                    so_far.step(updated)
                walk.advance(block)
    finally:
        masks.forget()


def _update_block(masks: Masks, walk: Walk, block: int, matrices: Sequence[Matrix]) -> None:
    for matrix in matrices:
        matrix.weight.copy_(masks.base(matrix))
    known = block_statistics(walk, block, matrices, {GRAM}, advance=False)

    @torch.no_grad()  # each thread has its own
    def update_one(matrix: Matrix) -> None:
        gram = known.pop(matrix.name)[GRAM]
        if removed := int((~masks.kept(matrix)).sum()):
            updated = update(matrix.rows(matrix.weight), gram, inverse_factor(gram), removed)
            matrix.weight.copy_(matrix.rows(updated))

    largest = sorted(matrices, key=lambda matrix: -matrix.size)  # first, so that threads end at about the same time
    most = fitting_threads(largest[0].weight.device, 4 * _COPIES * largest[0].size)
    for _ in map_in_threads(update_one, largest, most):
        pass


@torch.no_grad()
def reconstruct_at_stages(
    stages: Sequence[float], model: Any, matrices: Sequence[Matrix], tokens: torch.Tensor,
    stored: Mapping[str, torch.Tensor],
) -> Tensors:  # fmt: skip
    """Return the weights and levels of ``matrices`` at each of the ``stages``, sparsities, as EvoPress searches them.

    ``model`` is dense: stages are updated for its layers' inputs on ``tokens`` ``(windows, window)``. ``stored``: the
    original weights. A weight that a stage removes is stored with its original value, and its level is below all levels
    of remaining weights: other cuts than the stage's remove or restore, and the number removed is exact. Levels follow
    w^2 / [H^-1]_jj, by which SparseGPT chooses.
    """
    at_stages: Tensors = {}
    for matrix, of_inputs in statistics(model, tokens, matrices, {GRAM}, "reconstructing stages"):
        gram = of_inputs[GRAM]
        factor, base = inverse_factor(gram), stored[BASE + matrix.name].to(gram.device)
        variances = matrix.rows(factor.square().sum(0, keepdim=True))  # the inverse's diagonal
        for stage in stages:
            removed = cut_at(stage, matrix.size)[1]
            updated = matrix.rows(update(matrix.rows(base), gram, factor, removed))
            kept = updated != 0
            score = torch.where(kept, updated, base) ** 2 / variances
            ranks = ranks_in_matrix(ranks_in_matrix(score) + kept * score.numel())
            at_stages[at_stage(stage, LEVEL + matrix.name)] = levels(ranks)
            weight = torch.where(kept, updated.to(base.dtype), base)
            at_stages[at_stage(stage, BASE + matrix.name)] = weight.contiguous()
    return at_stages
