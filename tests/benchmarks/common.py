"""Rows of Markdown tables, and the losses that types make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.errors import Sample, estimate_errors
from evoprune.problems.language_model.models.blocks import Matrix


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> str:
    """The first two rows of a Markdown table."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def losses_of(
    matrices: Sequence[Matrix], samples: Iterable[Sample], importance: Mapping[str, torch.Tensor], kinds: Iterable[str]
) -> list[dict[str, float]]:
    """The estimated loss of each of ``matrices`` in each of ``kinds`` that fits it, by their ``samples``."""
    pairs = list(zip(matrices, samples, strict=True))
    level_losses: dict[str, dict[str, float]] = {matrix.name: {} for matrix in matrices}
    for kind in kinds:
        own = [(each, sample) for each, sample in pairs if ggml.fits(kind, each.rows(each.weight).shape[1])]
        found = estimate_errors(own, importance, kind)["divergences"].tolist()
        for (each, _), level_loss in zip(own, found, strict=True):
            level_losses[each.name][kind] = level_loss
    return list(level_losses.values())
