"""Draw losses against minutes, and against sizes: ``python -m tests.benchmarks.minutes PAGE MINUTES.png SIZES.png``.

PAGE: a page with a table under the heading "Loss against minutes", whose columns are model, name, MB, minutes, GB,
divergence, and bits a byte behind the source; rows without minutes are files of other programs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evoprune.figures import COLOURS, GREY, STYLE

_TICKS = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]

_LABEL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}

HEADING = "## Loss against minutes"


class Row(NamedTuple):
    model: str
    name: str
    size: float
    minutes: float | None
    behind: float


def rows_of(page: str) -> list[Row]:
    _, _, section = page.partition(HEADING)
    found = []
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[2].replace(".", "").isdigit():
            model, name, size, minutes, *_, behind = cells
            found.append(Row(model, name, float(size), float(minutes) if minutes else None, float(behind)))
    return found


def by_bytes(rows: Sequence[Row]) -> Figure:
    """Draw the least loss of each size, and the presets of llama.cpp, a panel for each model."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models)), models, strict=True):
        own = [row for row in rows if row.model == model]
        least: dict[float, Row] = {}
        for row in own:
            if row.minutes and row.behind <= least.get(row.size, row).behind:
                least[row.size] = row
        presets = [row for row in own if row.minutes is None]
        _line(axes, presets, GREY, "s:", "presets of llama.cpp")
        _line(axes, [*least.values()], COLOURS[0], "o-", "evoprune prune")
        for row in presets:
            axes.annotate(row.name, (row.size, row.behind), xytext=(7, 4), color=GREY, **_LABEL)
        for row in least.values():
            told = f"{row.minutes:.0f} min"
            axes.annotate(
                told, (row.size, row.behind), xytext=(-7, -5), ha="right", va="top", color=COLOURS[0], **_LABEL
            )
        axes.set(xlabel="MB", ylabel="bits a byte behind the source", yscale="log")
        axes.set_title(f"{model}: loss against file size")
        widest = max(row.size for row in own) - min(row.size for row in own)
        axes.set_xlim(min(row.size for row in own) - 0.25 * widest, max(row.size for row in own) + 0.45 * widest)
        _tick(axes, [row.behind for row in own])
        axes.set_ylim(top=2.5 * max(row.behind for row in own))
        axes.legend(fontsize="small", loc="upper right")
    return figure


def _line(axes: Axes, rows: Sequence[Row], colour: str, style: str, label: str) -> None:
    points = sorted((row.size, row.behind) for row in rows)
    axes.plot(*zip(*points, strict=True), style, color=colour, label=label)


def _tick(axes: Axes, losses: Sequence[float]) -> None:
    ticks = [tick for tick in _TICKS if min(losses) / 1.5 <= tick <= 1.5 * max(losses)]
    axes.set_ylim(bottom=min(losses) / 2)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def main(page: str, out: str, by_size: str) -> None:
    rows = rows_of(Path(page).read_text(encoding="utf-8"))
    models = list(dict.fromkeys(row.model for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        for axes, model in zip(figure.subplots(1, len(models)), models, strict=True):
            own = [row for row in rows if row.model == model]
            sizes = sorted({row.size for row in own if row.minutes}, reverse=True)
            for colour, size in zip(COLOURS, sizes, strict=False):
                points = sorted((row.minutes, row.behind) for row in own if row.size == size and row.minutes)
                axes.plot(*zip(*points, strict=True), "o-", color=colour)
                axes.annotate(
                    f"{size:g} MB", points[-1], xytext=(6, -3), textcoords="offset points", color=colour, va="top"
                )
            for row in own:
                if row.minutes is None:
                    axes.axhline(row.behind, color=GREY, linestyle=":", zorder=0)
                    axes.text(1, row.behind, f"{row.name}, {row.size:g} MB", color=GREY, fontsize=9,
                              transform=axes.get_yaxis_transform(), ha="right", va="bottom")  # fmt: skip
            axes.set(title=model, xlabel="minutes", ylabel="bits a byte behind the source", xscale="log", yscale="log")
            axes.set_xticks([2, 5, 10, 30], ["2", "5", "10", "30"])
            axes.set_xlim(1.7, 120)
            _tick(axes, [row.behind for row in own])
        figure.savefig(out, dpi=150)
        by_bytes(rows).savefig(by_size, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
