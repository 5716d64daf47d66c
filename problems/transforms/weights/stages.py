"""Reconstructs each layer beforehand at some sparsities, so that candidates are assembled from updated weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from problems.calibration.activations import GRAM
from problems.calibration.statistics import statistics
from problems.calibration.tensor_cache import Tensors
from problems.models.blocks import Matrix
from problems.reconstruction.update import Inputs, update
from problems.transforms.weights.masks import BASE, LEVEL, at_stage
from problems.transforms.weights.ranks import cut_at, levels, ranks_in_matrix
from problems.transforms.weights.settings import WeightsSettings


@torch.no_grad()
def reconstruct_at_stages(
    settings: WeightsSettings,
    model: Any,
    matrices: Sequence[Matrix],
    tokens: torch.Tensor,
    stored: Mapping[str, torch.Tensor],
) -> Tensors:
    """The weights and levels of each of ``matrices`` at each of the ``reconstruct_stages``.

    ``model`` is dense: all stages are updated for its layers' inputs on ``tokens``
    ``(windows, window)``, the calibration text. EvoPress (Sieberling et al., ICML 2025) searches over
    such a table of layers. ``stored``: the original weights and levels, as
    :class:`problems.transforms.weights.masks.Masks` takes them.

    A weight that a stage removes is stored with its original value, and its level is below those
    of all remaining weights: a cut above the stage's removes the lowest of the updated weights too,
    a cut below it restores the highest of the removed ones, and the number removed is exact. If the
    score chooses the mask, levels are those of the score, and not stored again; else those of
    w^2 / [H^-1]_jj, by which SparseGPT chooses.
    """
    found: Tensors = {}
    for matrix, of_inputs in statistics(model, tokens, matrices, {GRAM}, "reconstructing stages"):
        inputs = Inputs(of_inputs[GRAM])
        base, level = (stored[key + matrix.name].to(inputs.gram.device) for key in (BASE, LEVEL))
        for stage in settings.reconstruct_stages:
            kept = level >= cut_at(stage, matrix.size)[0]
            how = settings.reconstruct, settings.reconstruct_mask
            updated = matrix.rows(update(matrix.rows(base), inputs, matrix.rows(kept), *how))
            if settings.reconstruct_mask == "adaptive":
                kept = updated != 0
                variances = inputs.factor.square().sum(0, keepdim=True)  # the inverse's diagonal
                score = torch.where(kept, updated, base) ** 2 / matrix.rows(variances)
                found[at_stage(stage, LEVEL + matrix.name)] = _levels(score, kept)
            found[at_stage(stage, BASE + matrix.name)] = torch.where(kept, updated.to(base.dtype), base).contiguous()
    return found


def _levels(score: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The levels of a matrix: first all weights that are not ``kept``, then the others, each by ``score``."""
    return levels(ranks_in_matrix(ranks_in_matrix(score) + kept * score.numel()))
