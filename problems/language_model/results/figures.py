"""Figures of results, and their captions: perplexity against sparsity, curves of recoveries."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import PercentFormatter

from evoprune.plugins import (
    BLUE,
    COLOURS,
    EVOLVED,
    GREY,
    ORANGE,
    digits,
    entitle,
    log_scale_if_wide,
    new_figure,
    save_figure,
    thousands,
)
from evoprune.problems.language_model.results.result import RecoveredRow, criterion, criterion_values
from evoprune.problems.language_model.results.summary import LABELS

RECOVERY = "recovery"  # name of the files of a recovery's figure

_FEWEST_FOR_A_LINE = 4  # a line through fewer points would suggest more than was measured
_COLOURS = {EVOLVED: ORANGE, "uniform": BLUE, "dense": GREY}
_STYLES: dict[str, dict[str, Any]] = {
    "uniform": {"color": BLUE, "marker": "o", "markersize": 7},
    EVOLVED: {"color": ORANGE, "marker": "*", "markersize": 14},
}

Point = tuple[float, float]
"""Sparsity of the prunable weights, and perplexity."""


def draw_cliff(uniform: Sequence[Point], marks: Mapping[str, Point], folder: Path, about: str = "") -> str:
    """Draw perplexities on the report text: of ``uniform`` at each sparsity, and ``marks`` by name; return the caption.

    Marks of ``uniform`` and ``evolved`` are filled, marks with updated weights, ``NAME, reconstructed``, empty.
    Infinite values are in the caption only.
    """
    points = sorted(point for point in uniform if math.isfinite(point[1]))
    figure, axes = new_figure()
    line = "-" if len(points) >= _FEWEST_FOR_A_LINE else "none"
    axes.plot(*zip(*points, strict=True), color=BLUE, linestyle=line, marker="o", markersize=4, label="uniform")
    for name, point in marks.items():
        model, _, updated = name.partition(", ")
        fill: Any = "none" if updated else "full"
        axes.plot(*point, linestyle="none", label=f"{name}: {digits(point[1])}", fillstyle=fill, **_STYLES[model])
    axes.margins(x=0.12, y=0.1)
    log_scale_if_wide(axes, [value for _, value in (*points, *marks.values()) if math.isfinite(value)])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="sparsity of the prunable weights", ylabel="perplexity on the report text")
    entitle(axes, "Uniform pruning, and the evolved allocation", about)
    axes.legend(loc="upper left", fontsize="small")
    save_figure(figure, folder, "cliff")
    words = [f"dense: {digits(value)}" for sparsity, value in points if sparsity == 0]
    words += [f"{name} at {100 * sparsity:.4g}%: {digits(value)}" for name, (sparsity, value) in marks.items()]
    return f"Perplexity on the report text against the share of prunable weights removed ({'; '.join(words)})."


def draw_recovery(rows: Mapping[str, RecoveredRow], dense: float | None, folder: Path, about: str = "") -> str:
    """Draw the learning curve of each of the ``rows``; return the caption.

    ``dense``: perplexity of the dense model, if known. Infinite values and untrained models are left out.
    """
    figure, axes = new_figure()
    shown, words, quantity = [], [], criterion(next(iter(rows.values())).curve)
    others = iter(COLOURS[2:])
    for name, row in rows.items():
        if len(row.curve) == 1:
            continue
        values = criterion_values(row.curve)
        points = [(point["tokens"], y) for point, y in zip(row.curve, values, strict=True) if math.isfinite(y)]
        alike = "" if name == EVOLVED else ", trained alike"
        words.append(f"{LABELS.get(name, name)}{alike}: {digits(values[0])} to {digits(min(values))}")
        tokens, finite = [at for at, _ in points], [value for _, value in points]
        colour = _COLOURS.get(name) or next(others)
        axes.plot(tokens, finite, color=colour, marker="o", markersize=4, label=words[-1])
        shown += finite
    if dense is not None and quantity == "perplexity":
        words.append(f"dense: {digits(dense)}")
        axes.axhline(dense, color=GREY, linestyle="--", label=words[-1])
        shown.append(dense)
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    axes.set(xlabel="tokens trained on", ylabel=f"{quantity} on held-out windows")
    entitle(axes, "Recovery towards the dense model", about)
    axes.legend(loc="upper right")
    save_figure(figure, folder, RECOVERY)
    return f"{quantity.capitalize()} on held-out windows against the tokens trained on ({'; '.join(words)})."
