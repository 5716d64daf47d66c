"""The figures of the pruning problem: the cliff, and the sparsity of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import PercentFormatter

from evoprune.figures import BLUE, GREY, ORANGE, log_scale_if_wide, new, save

_MOST_LABELS = 40
"""More genes than this are numbered, not named."""


def draw_cliff(
    sparsities: Sequence[float], perplexities: Sequence[float], target: float, evolved: float, folder: Path
) -> None:
    """Perplexity of the uniform allocation against its sparsity, and the evolved point."""
    points = sorted((s, p) for s, p in zip(sparsities, perplexities, strict=True) if math.isfinite(p))
    figure, axes = new()
    axes.plot(*zip(*points, strict=True), color=BLUE, marker="o", markersize=4, label="uniform")
    axes.plot([target], [evolved], color=ORANGE, marker="*", markersize=14, linestyle="none", label="evolved")
    axes.annotate(_plain(evolved), (target, evolved), xytext=(8, -14), textcoords="offset points", color=ORANGE)
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


def draw_allocation(names: Sequence[str], genome: Sequence[float], target: float, folder: Path) -> None:
    """The sparsity of each gene against the uniform line."""
    figure, axes = new(width=min(14.0, max(7.0, 0.22 * len(genome))))
    axes.bar(range(1, len(genome) + 1), genome, color=ORANGE, width=0.75, label="evolved")
    axes.axhline(target, color=GREY, linestyle="--", label=f"uniform, {target:.0%}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    by_block = all(name.startswith("block ") for name in names)
    if by_block and len(names) <= _MOST_LABELS:
        axes.set_xticks(range(1, len(genome) + 1))
    axes.set(
        xlabel="transformer block" if by_block else "matrix, in the model's order",
        ylabel="sparsity",
        title="Sparsity found for each " + ("block" if by_block else "matrix"),
        xlim=(0.4, len(genome) + 0.6),
        ylim=(0, max(*genome, target) * 1.22),
    )
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right", ncols=2)
    save(figure, folder, "sparsity_by_layer")


def _plain(value: float) -> str:
    """A number for people: no powers of ten, and no more digits than matter."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
