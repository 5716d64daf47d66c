"""The figures of the pruning problem: the cliff, and the sparsity of each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from evoprune.figures import BLUE, GREY, ORANGE, log_scale_if_wide, new, save
from problems.pruning.model.blocks import Matrix

_MOST_LABELS = 40
"""More blocks than this are not numbered one by one."""


def draw_cliff(
    sparsities: Sequence[float], perplexities: Sequence[float], target: float, point: tuple[float, float], folder: Path
) -> None:
    """Perplexity of the uniform allocation against its sparsity, and the evolved ``point`` (sparsity, perplexity)."""
    place, evolved = point
    points = sorted((s, p) for s, p in zip(sparsities, perplexities, strict=True) if math.isfinite(p))
    figure, axes = new()
    axes.plot(*zip(*points, strict=True), color=BLUE, marker="o", markersize=4, label="uniform")
    axes.plot([place], [evolved], color=ORANGE, marker="*", markersize=14, linestyle="none", label="evolved")
    axes.annotate(_plain(evolved), point, xytext=(8, -14), textcoords="offset points", color=ORANGE)
    at_target = dict(points).get(target)
    if at_target is not None:
        axes.annotate(
            _plain(at_target), (target, at_target), xytext=(-8, 6), textcoords="offset points", color=BLUE, ha="right"
        )
    log_scale_if_wide(axes, [p for _, p in points] + [evolved])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(
        xlabel="sparsity of the prunable weights",
        ylabel="perplexity on the report text",
        title="Uniform pruning, and the evolved allocation",
    )
    axes.legend(loc="upper left")
    save(figure, folder, "cliff")


def draw_front(
    front: Sequence[tuple[float, ...]], uniform: Sequence[tuple[float, ...]], label: str, folder: Path
) -> None:
    """The trade-offs that a search found beside the uniform curve, both as (``label``, sparsity) on the search text."""
    figure, axes = new()
    shown = []
    for values, name, colour in ((uniform, "uniform", BLUE), (front, "found", ORANGE)):
        points = sorted((sparsity, value) for value, sparsity in values if math.isfinite(value))
        shown += [value for _, value in points]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=name)
    log_scale_if_wide(axes, shown)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(
        xlabel="sparsity of the prunable weights",
        ylabel=f"{label} on the search text",
        title="Trade-offs that nothing found dominates",
    )
    axes.legend(loc="upper left")
    save(figure, folder, "front")


def draw_allocation(by_block: Sequence[float], target: float, folder: Path) -> None:
    """The sparsity of each block against the uniform line."""
    count = len(by_block)
    figure, axes = new(width=min(14.0, max(7.0, 0.3 * count)))
    axes.bar(range(1, count + 1), by_block, color=ORANGE, width=0.75, label="evolved")
    axes.axhline(target, color=GREY, linestyle="--", label=f"uniform, {target:.0%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if count <= _MOST_LABELS:
        axes.set_xticks(range(1, count + 1))
    axes.set(
        xlabel="transformer block",
        ylabel="sparsity",
        title="Sparsity found for each block",
        xlim=(0.4, count + 0.6),
        ylim=(0, max(*by_block, target) * 1.22),
    )
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right", ncols=2)
    save(figure, folder, "sparsity_by_layer")


def draw_matrices(matrices: Sequence[Matrix], by_matrix: Mapping[str, float], folder: Path) -> None:
    """The sparsity of each matrix: a row for each kind, a column for each block."""
    kinds = list(dict.fromkeys(matrix.kind for matrix in matrices))
    blocks = 1 + max(matrix.block for matrix in matrices)
    grid = [[math.nan] * blocks for _ in kinds]
    for matrix in matrices:
        grid[kinds.index(matrix.kind)][matrix.block] = by_matrix[matrix.name]
    figure, axes = new(width=min(14.0, max(7.0, 3 + 0.25 * blocks)), height=1.6 + 0.4 * len(kinds))
    image = axes.imshow(grid, aspect="auto", cmap="viridis", extent=(0.5, blocks + 0.5, len(kinds) - 0.5, -0.5))
    figure.colorbar(image, label="sparsity", format=PercentFormatter(1.0, decimals=0))
    axes.set_yticks(range(len(kinds)), kinds)
    axes.set(xlabel="transformer block", title="Sparsity found for each matrix")
    axes.grid(visible=False)
    save(figure, folder, "sparsity_by_matrix")


def _plain(value: float) -> str:
    """A number for people: no powers of ten, and no more digits than matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
