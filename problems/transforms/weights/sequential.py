"""Reconstructs a whole model, each layer on the outputs of the reconstructed layers before it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch

from evoprune import steps
from problems.calibration.activations import GRAM, gather
from problems.calibration.checkpoint import Checkpoint
from problems.calibration.statistics import BATCH_TOKENS
from problems.models.blocks import Matrix
from problems.models.forward import Walk
from problems.models.resident import Resident
from problems.models.threads import fitting_threads, map_in_threads
from problems.reconstruction.update import Inputs, update
from problems.transforms.weights.masks import Masks
from problems.transforms.weights.settings import WeightsSettings

_COPIES = 16
"""Of a matrix in float32, with its Gram matrix and factors, while it is updated."""


@torch.no_grad()
def reconstruct(resident: Resident, settings: WeightsSettings, masks: Masks, tokens: torch.Tensor) -> None:
    """Update the remaining weights of the model as ``masks`` cuts it now.

    Block after block: the Gram matrices of its layers' inputs are taken on ``tokens`` ``(windows, window)``, the
    calibration text, with the block still dense and those before it updated, as in SparseGPT's code. The next
    genome that is applied writes all weights again. A reconstruction that was interrupted goes on.
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
                    _update_block(settings, masks, walk, block, matrices)
                    updated |= {matrix.name: matrix.weight.detach() for matrix in matrices}
                    so_far.step(updated)
                walk.advance(block)
    finally:
        masks.forget()


def _update_block(settings: WeightsSettings, masks: Masks, walk: Walk, block: int, matrices: Sequence[Matrix]) -> None:
    """Prune and update the layers of one block."""
    for matrix in matrices:
        matrix.weight.copy_(masks.base(matrix))
    known = gather(walk, block, matrices, {GRAM}, advance=False)
    largest = sorted(matrices, key=lambda matrix: -matrix.size)  # first, so that threads end at about the same time
    most = fitting_threads(largest[0].weight.device, 4 * _COPIES * largest[0].size)
    for _ in map_in_threads(
        lambda matrix: _update(settings, masks, matrix, known.pop(matrix.name)[GRAM]), largest, most
    ):
        pass


@torch.no_grad()  # each thread has its own
def _update(settings: WeightsSettings, masks: Masks, matrix: Matrix, gram: torch.Tensor) -> None:
    """Prune and update one layer, whose weights are dense."""
    kept = masks.kept(matrix).to(gram.device)
    if kept.all():
        return
    weight = matrix.rows(matrix.weight)
    updated = update(weight, Inputs(gram), matrix.rows(kept), settings.reconstruct, settings.reconstruct_mask)
    matrix.weight.copy_(matrix.rows(updated))
