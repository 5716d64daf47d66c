"""Reconstructs each layer beforehand at some sparsities, so that candidates are put together from updated weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from tqdm import tqdm

from problems.pruning.evaluation.shared import Tensors
from problems.pruning.masking.masks import BASE, LEVEL, at_stage
from problems.pruning.masking.ranks import cut_at, levels, ranks_in_matrix
from problems.pruning.model.blocks import Matrix
from problems.pruning.reconstruct.layer import update
from problems.pruning.reconstruct.sparsegpt import inverse_factor
from problems.pruning.settings import PruningSettings
from problems.pruning.statistics.activations import GRAM
from problems.pruning.statistics.calibration import statistics


@torch.no_grad()
def reconstruct_at_stages(
    settings: PruningSettings,
    model: Any,
    matrices: Sequence[Matrix],
    tokens: torch.Tensor,
    stored: Mapping[str, torch.Tensor],
) -> Tensors:
    """The weights and levels of each of ``matrices`` at each of the ``reconstruct_stages``.

    ``model`` is dense: its layers' inputs on ``tokens`` ``(windows, window)``, the calibration
    text, are what all stages are made for. EvoPress (Sieberling et al., ICML 2025) searches over
    such a table of layers. ``stored``: the original weights and levels, as
    :class:`problems.pruning.masking.masks.Masks` takes them.

    A weight that a stage removes keeps its original value in what is stored, and its level lies
    below all that remain: a cut somewhat above the stage's takes the lowest of the updated
    weights too, a cut somewhat below it gives the highest of the removed ones back, and the
    number removed is exact. Levels are those of the score where it chooses what goes, and not
    stored again; else of w^2 / [H^-1]_jj, by which SparseGPT chooses.
    """
    found: Tensors = {}
    known = statistics(model, tokens, matrices, {GRAM})
    bar = tqdm(known, "reconstructing stages", len(matrices), unit="matrix", leave=False, disable=None)
    for matrix, of_inputs in bar:
        gram = of_inputs[GRAM]
        factor = inverse_factor(gram)
        variances = factor.square().sum(0, keepdim=True)  # the inverse's diagonal
        base, level = (stored[key + matrix.name].to(gram.device) for key in (BASE, LEVEL))
        for stage in settings.reconstruct_stages:
            kept = level >= cut_at(stage, matrix.size)[0]
            updated = matrix.rows(update(settings, matrix.rows(base), gram, factor, matrix.rows(kept)))
            if settings.reconstruct_mask == "adaptive":
                kept = updated != 0
                score = torch.where(kept, updated, base) ** 2 / matrix.rows(variances)
                found[at_stage(stage, LEVEL + matrix.name)] = _levels(score, kept)
            found[at_stage(stage, BASE + matrix.name)] = torch.where(kept, updated.to(base.dtype), base).contiguous()
    return found


def _levels(score: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """The levels of a matrix of which all that is not ``kept`` goes first, and otherwise the lowest ``score``."""
    return levels(ranks_in_matrix(ranks_in_matrix(score) + kept * score.numel()))
