"""The results of an ablation: a table, curves, and a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy
from matplotlib.figure import Figure

from evoprune.ablation.campaign import Campaign
from evoprune.ablation.compare import CONFIDENCE, Row, compare, in_words
from evoprune.ablation.runs import Finished
from evoprune.console.formatting import aligned
from evoprune.figures import COLOURS, log_scale_if_wide, new, save, thousands
from evoprune.files.json_files import write_json

HEAD = ["variant", "runs", "median", "quartiles", f"{CONFIDENCE:.0%} interval of the median", "p against the first"]

_POINTS = 200

_LINES = ("-", "--", ":", "-.")
"""For variants beyond the colours."""


NOT_COMPARED = "it differs between the variants, so that only their results on unseen data are compared"
"""Shown where the variants of a campaign have no common ``label`` for the objective."""


def write_results(runs: Sequence[Finished], campaign: Campaign, folder: Path) -> str:
    """Write ``ablation.json`` and ``curves`` into ``folder``; return the tables as text."""
    found = compared(runs, campaign)
    seeds = len({run.seed for run in runs})
    write_json(folder / "ablation.json", {title: [asdict(row) for row in rows] for title, rows in found.items()})
    if campaign.label is not None:
        save(draw_curves(runs, campaign.budget, campaign.unit, campaign.label), folder, "curves")
    sections = [] if campaign.label is not None else [f"The objective: {NOT_COMPARED}."]
    for title, rows in found.items():
        sections.append("\n".join([f"{title}:", "", *aligned([HEAD, *map(cells, rows)]), "", in_words(rows, seeds)]))
    return "\n\n".join(sections) + "\n"


def compared(runs: Sequence[Finished], campaign: Campaign) -> dict[str, list[Row]]:
    """By title, a row for each variant: of the fitness, and of the result on unseen data where all runs have one."""
    budget, tables = campaign.budget, {}
    if campaign.label is not None:
        fitness = _by_variant(runs, [run.curve.at(budget) for run in runs])
        tables[f"fitness, best within {budget:,.0f} {campaign.unit}"] = fitness
    unseen = [run.unseen for run in runs if run.unseen is not None]
    if len(unseen) == len(runs):
        beyond = max(run.spent for run in runs) / budget - 1
        spent = f", the last generation's up to {beyond:.0%} beyond the budget too" if beyond >= 0.005 else ""
        tables[f"the result on data the search never saw{spent}"] = _by_variant(runs, unseen)
    return {title: compare(scores) for title, scores in tables.items()}


def _by_variant(runs: Sequence[Finished], scores: Sequence[float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for run, score in zip(runs, scores, strict=True):
        found.setdefault(run.variant, []).append(score)
    return found


def cells(row: Row) -> list[str]:
    """The cells of ``row``, in the order of :data:`HEAD`."""
    quartiles, interval = (" to ".join(f"{v:.4g}" for v in pair) for pair in (row.quartiles, row.interval))
    p = "" if row.p is None else f"{row.p:.3g}"
    return [row.variant, str(row.runs), f"{row.median:.4g}", quartiles, interval, p]


def draw_curves(runs: Sequence[Finished], budget: float, unit: str, label: str) -> Figure:
    """The median best so far (``label``) of each variant against work, and the band of its middle half."""
    names = list(dict.fromkeys(run.variant for run in runs))
    figure, axes = new(width=8.0, height=4.8 + 0.2 * len(names))
    shown: list[float] = []
    opacity = 0.2 if len(names) <= 3 else 0.08  # many bands over one another become one grey
    for number, variant in enumerate(names):
        curves = [run.curve for run in runs if run.variant == variant]
        start = max(curve.work[0] for curve in curves)  # from where every seed has a score
        at = numpy.linspace(start, budget, _POINTS)
        values = numpy.array([[curve.at(work) for work in at] for curve in curves])
        low, middle, high = numpy.quantile(values, (0.25, 0.5, 0.75), axis=0)
        colour = COLOURS[number % len(COLOURS)]
        style = _LINES[number // len(COLOURS) % len(_LINES)]
        axes.plot(at, middle, color=colour, linestyle=style, label=variant)
        axes.fill_between(at, low, high, color=colour, alpha=opacity, linewidth=0)
        shown += [*low, *high]
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    axes.set(xlabel=unit, ylabel=label, title="Best so far: median and middle half over seeds")
    figure.legend(loc="outside lower center", ncols=2 if len(names) > 1 and max(map(len, names)) < 45 else 1)
    return figure
