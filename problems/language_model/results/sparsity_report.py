"""The part of a report on sparsities of weights: the uniform curve, allocations without search, and figures."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.ticker import PercentFormatter

from evoprune.console.formatting import digits
from evoprune.figures import BLUE, COLOURS, GREY, ORANGE, entitle, log_scale_if_wide, new, save
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.weights.transform import Weights

_MOST_LABELS = 40  # more blocks are not numbered one by one
_FEWEST_FOR_A_LINE = 4  # a line through fewer points would suggest more than was measured
_STYLES: dict[str, dict[str, Any]] = {
    "uniform": {"color": BLUE, "marker": "o", "markersize": 7},
    "evolved": {"color": ORANGE, "marker": "*", "markersize": 14},
}

Point = tuple[float, float]
"""Sparsity of the prunable weights, and perplexity."""


def draw_cliff(
    uniform: Sequence[Point],
    at_target: Point | None,
    evolved: Point,
    folder: Path,
    *,
    allocations: Mapping[str, float],
    reconstructed: Mapping[str, float],
    about: str = "",
) -> str:
    """Draw perplexities on the report text: of ``uniform`` at each sparsity and at the target, and ``evolved``.

    Beside them ``allocations`` at the target, and uniform and evolved ``reconstructed``. Infinite values are in the
    caption alone.
    """
    places = {"evolved": evolved} | ({"uniform": at_target} if at_target else {})
    target = (at_target or evolved)[0]
    points = sorted((s, p) for s, p in uniform if math.isfinite(p))
    markers = zip(cycle(COLOURS[2:]), cycle("s^vDPX<>"))
    marks: list[tuple[str, Point, dict[str, Any]]] = [
        (f"{name}: {digits(value)}", (target, value), {"color": colour, "marker": marker, "markersize": 5})
        for (name, value), (colour, marker) in zip(allocations.items(), markers, strict=False)
    ]
    marks += [
        (f"{name}, reconstructed: {digits(value)}", (places[name][0], value), _STYLES[name] | {"fillstyle": "none"})
        for name, value in reconstructed.items()
    ]
    words = [f"dense: {digits(p)}" for s, p in points if s == 0]
    words += [f"{name} at {100 * at:.4g}%: {digits(value)}" for name, (at, value) in reversed(places.items())]
    words += [label for label, _, _ in marks]
    figure, axes = new()
    line = "-" if len(points) >= _FEWEST_FOR_A_LINE else "none"
    axes.plot(*zip(*points, strict=True), color=BLUE, linestyle=line, marker="o", markersize=4, label="uniform")
    marks.append(("evolved", evolved, _STYLES["evolved"]))
    for label, point, style in marks:
        axes.plot(*point, linestyle="none", label=label, **style)
    for name, offset, side in (("evolved", (9, -4), "left"), ("uniform", (-8, 6), "right")):
        if name in places and math.isfinite(places[name][1]):
            colour, told = _STYLES[name]["color"], digits(places[name][1])
            axes.annotate(told, places[name], offset, textcoords="offset points", color=colour, ha=side)
    axes.margins(x=0.12, y=0.1)  # for the labels beside the points
    every = [p for _, p in points] + [point[1] for _, point, _ in marks]
    log_scale_if_wide(axes, [p for p in every if math.isfinite(p)])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="sparsity of the prunable weights", ylabel="perplexity on the report text")
    entitle(axes, "Uniform pruning, and the evolved allocation", about)
    axes.legend(loc="upper left", fontsize="small" if len(marks) > 1 else "medium")
    save(figure, folder, "cliff")
    return f"Perplexity on the report text against the share of prunable weights removed ({'; '.join(words)})."


def draw_allocation(by_block: Sequence[float], target: float, folder: Path, about: str = "") -> str:
    """Draw the sparsity of each block, counted from 0, against the uniform line."""
    count = len(by_block)
    figure, axes = new(width=min(14.0, max(7.0, 0.3 * count)))
    axes.bar(range(count), by_block, color=ORANGE, width=0.75, label="evolved")
    axes.axhline(target, color=GREY, linestyle="--", label=f"uniform, {100 * target:.4g}%")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if count <= _MOST_LABELS:
        axes.set_xticks(range(count))
    highest = max(*by_block, target)
    axes.set(xlabel="transformer block", ylabel="sparsity", xlim=(-0.6, count - 0.4), ylim=(0, highest * 1.22))
    entitle(axes, "Sparsity found for each block", about)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right", ncols=2)
    save(figure, folder, "sparsity_by_layer")
    least, most = (by_block.index(extreme(by_block)) for extreme in (min, max))
    return (
        f"Sparsity of each of {count} blocks, counted from 0 (uniform: {100 * target:.4g}%): from "
        f"{by_block[least]:.0%} in block {least} to {by_block[most]:.0%} in block {most}."
    )


def draw_matrices(matrices: Sequence[Matrix], by_matrix: Mapping[str, float], folder: Path, about: str = "") -> str:
    """Draw the sparsity of each matrix: a row for each kind, a column for each block, counted from 0."""
    kinds = list(dict.fromkeys(matrix.kind for matrix in matrices))
    blocks = 1 + max(matrix.block for matrix in matrices)
    grid = [[math.nan] * blocks for _ in kinds]
    for matrix in matrices:
        grid[kinds.index(matrix.kind)][matrix.block] = by_matrix[matrix.name]
    figure, axes = new(width=min(14.0, max(7.0, 3 + 0.25 * blocks)), height=1.6 + 0.4 * len(kinds))
    image = axes.imshow(grid, aspect="auto", cmap="viridis", extent=(-0.5, blocks - 0.5, len(kinds) - 0.5, -0.5))
    figure.colorbar(image, label="sparsity", format=PercentFormatter(1.0, decimals=0))
    axes.set_yticks(range(len(kinds)), kinds)
    if blocks <= _MOST_LABELS:
        axes.set_xticks(range(blocks))
    axes.set(xlabel="transformer block")
    entitle(axes, "Sparsity found for each matrix", about)
    axes.grid(visible=False)
    save(figure, folder, "sparsity_by_matrix")
    least, most = (extreme(by_matrix, key=lambda name: by_matrix[name]) for extreme in (min, max))
    return (
        "Sparsity of each matrix, a row for each kind and a column for each block, counted from 0: from "
        f"{by_matrix[least]:.0%} of {least} to {by_matrix[most]:.0%} of {most}."
    )


Perplexities = Mapping[str, float | None]


def sparsity_report(
    cut: Weights, outcome: Outcome, folder: Path, found: Mapping[str, Any], searched: Perplexities,
    reported: Perplexities, by_matrix: Mapping[str, float],
) -> dict[str, Any]:  # fmt: skip
    """Return ``curve``, ``allocations``, ``by_matrix`` and ``figures`` of a search of sparsities.

    ``found``: the report so far. ``searched``, ``reported``: perplexities of all references and of ``evolved``.
    """
    perplexity, evolved, drawn = found["perplexity"], found["sparsity"]["prunable"], _drawable(reported)
    measured = {name: of.measures["sparsity"] for name, (_, of) in outcome.references.items() if of.measures}
    allocations = [name for name in cut.settings.allocations if name in reported]
    curve = {name: at for name, at in measured.items() if name not in allocations}
    goal = found.get("asked", {}).get("wanted", evolved)
    uniform = _drawable(perplexity["report"]).get(UNIFORM)
    captions = {"sparsity_by_layer": draw_allocation(_by_block(cut.matrices, by_matrix), goal, folder, outcome.title)}
    if cut.settings.genes != "block":
        captions["sparsity_by_matrix"] = draw_matrices(cut.matrices, by_matrix, folder, outcome.title)
    captions["cliff"] = draw_cliff(
        [(at, drawn[name]) for name, at in curve.items()],
        None if uniform is None else (goal, uniform),
        (evolved, drawn["evolved"]),
        folder,
        allocations={name: drawn[name] for name in allocations},
        reconstructed=_drawable(perplexity.get("report_reconstructed", {})),
        about=outcome.title,
    )
    scores = {"search": searched, "report": reported}
    return {
        "curve": {"sparsity": [*curve.values()]} | {text: [of[name] for name in curve] for text, of in scores.items()},
        "allocations": {
            name: {"genome": outcome.references[name][0]} | {text: of[name] for text, of in scores.items()}
            for name in allocations
        },
        "by_matrix": dict(by_matrix),
        "figures": captions,
    }


def _by_block(matrices: Sequence[Matrix], by_matrix: Mapping[str, float]) -> list[float]:
    removed, sizes = defaultdict[int, float](float), defaultdict[int, float](float)
    for matrix in matrices:
        removed[matrix.block] += by_matrix[matrix.name] * matrix.size
        sizes[matrix.block] += matrix.size
    return [removed[block] / sizes[block] for block in sizes]


def _drawable(perplexities: Perplexities) -> dict[str, float]:
    return {name: math.inf if value is None else value for name, value in perplexities.items()}
