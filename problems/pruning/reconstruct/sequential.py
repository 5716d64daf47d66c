"""Reconstructs a whole model, each layer on the inputs that the reconstructed ones before it give."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from tqdm import tqdm

from problems.pruning.evaluation.evaluator import Evaluator
from problems.pruning.model.blocks import Matrix
from problems.pruning.model.forward import Forward
from problems.pruning.model.walk import Walk
from problems.pruning.reconstruct.layer import update
from problems.pruning.reconstruct.sparsegpt import inverse_factor
from problems.pruning.statistics.activations import GRAM, gather
from problems.pruning.statistics.calibration import BATCH_TOKENS


@torch.no_grad()
def reconstruct(evaluator: Evaluator, genome: Sequence[float]) -> None:
    """Leave the evaluator's model pruned as ``genome`` says, and its remaining weights updated.

    Block after block: the Gram matrices of its layers' inputs are taken on the calibration text
    with the block still dense and those before it done, as in the paper's code. The next
    genome that is scored finds its own weights again.
    """
    evaluator.masks.apply(genome)
    walk = Walk(Forward(evaluator.model), evaluator.calibration.tokens, BATCH_TOKENS)
    blocks = [(block, list(members)) for block, members in groupby(evaluator.matrices, key=lambda m: m.block)]
    try:
        for block, matrices in tqdm(blocks, "reconstructing", unit="block", leave=False, disable=None):
            for matrix in matrices:
                matrix.weight.copy_(evaluator.masks.base(matrix))
            known = gather(walk, block, matrices, {GRAM}, advance=False)
            for matrix in matrices:
                _update(evaluator, matrix, known.pop(matrix.name)[GRAM])
            walk.advance(block)
    finally:
        evaluator.masks.forget()


def _update(evaluator: Evaluator, matrix: Matrix, gram: torch.Tensor) -> None:
    """Prune and update one layer, whose weights are dense."""
    kept = evaluator.masks.kept(matrix).to(gram.device)
    if kept.all():
        return
    weight = matrix.rows(matrix.weight)
    updated = update(evaluator.settings, weight, gram, inverse_factor(gram), matrix.rows(kept))
    matrix.weight.copy_(matrix.rows(updated))
