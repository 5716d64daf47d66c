"""Draw losses against minutes, and against sizes: ``python -m tests.benchmarks.minutes PAGE MINUTES.png SIZES.png``.

PAGE: a page with a table under the heading "Loss against minutes", whose columns are model, name, MB, minutes, GB,
divergence, and bits a byte behind the source; rows without minutes are files of other programs.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evoprune.figures import COLOURS, GREY, STYLE

_TICKS = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]
_LABEL: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}


class Row(NamedTuple):
    model: str
    name: str
    size: float
    minutes: float | None
    behind: float


def rows_of(page: str) -> list[Row]:
    """Read the rows of the table."""
    found = []
    for line in page.partition("## Loss against minutes")[2].partition("\n## ")[0].splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[2].replace(".", "").isdigit():
            model, name, size, minutes, *_, behind = cells
            found.append(Row(model, name, float(size), float(minutes) if minutes else None, float(behind)))
    return found


def by_bytes(axes: Axes, ours: Sequence[Row], presets: Sequence[Row]) -> None:
    """Draw the least loss of each size, and the presets of llama.cpp."""
    least = {row.size: row for row in sorted(ours, key=lambda row: -row.behind)}
    for rows, style, label, colour in (
        (presets, "s:", "presets of llama.cpp", GREY),
        ([*least.values()], "o-", "evoprune prune", COLOURS[0]),
    ):
        axes.plot(*zip(*sorted((row.size, row.behind) for row in rows), strict=True), style, color=colour, label=label)
        for row in rows:
            place = {"xytext": (-7, -5), "ha": "right", "va": "top"} if row.minutes else {"xytext": (7, 4)}
            told = f"{row.minutes:.0f} min" if row.minutes else row.name
            axes.annotate(told, (row.size, row.behind), color=colour, **place, **_LABEL)
    sizes = [row.size for row in [*ours, *presets]]
    spread = max(sizes) - min(sizes)
    axes.set_xlim(min(sizes) - 0.25 * spread, max(sizes) + 0.45 * spread)
    axes.set_ylim(top=1.8 * axes.get_ylim()[1])
    axes.set(xlabel="MB")
    axes.legend(fontsize="small", loc="upper right")


def by_minutes(axes: Axes, ours: Sequence[Row], presets: Sequence[Row]) -> None:
    """Draw a line for each size, and a dotted one for each preset."""
    for colour, size in zip(COLOURS, sorted({row.size for row in ours}, reverse=True), strict=False):
        points = sorted((row.minutes, row.behind) for row in ours if row.size == size)
        axes.plot(*zip(*points, strict=True), "o-", color=colour)
        axes.annotate(f"{size:g} MB", points[-1], xytext=(6, -3), color=colour, va="top", **_LABEL)
    for row in presets:
        axes.axhline(row.behind, color=GREY, linestyle=":", zorder=0)
        place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "bottom"}
        axes.text(1, row.behind, f"{row.name}, {row.size:g} MB", color=GREY, fontsize=9, **place)
    axes.set(xlabel="minutes", xscale="log")
    axes.set_xticks([2, 5, 10, 30], ["2", "5", "10", "30"])
    axes.set_xlim(1.7, 120)


def draw(rows: Sequence[Row], panel: Callable[[Axes, Sequence[Row], Sequence[Row]], None], out: str) -> None:
    """Draw a ``panel`` for each model."""
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models)), models, strict=True):
        own = [row for row in rows if row.model == model]
        losses = [row.behind for row in own]
        ticks = [tick for tick in _TICKS if min(losses) / 1.5 <= tick <= 1.5 * max(losses)]
        axes.set(
            title=model, ylabel="bits a byte behind the source", yscale="log", ylim=(min(losses) / 2, 1.4 * max(losses))
        )
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        panel(axes, [row for row in own if row.minutes], [row for row in own if row.minutes is None])
    figure.savefig(out, dpi=150)


def main(page: str, minutes: str, sizes: str) -> None:
    """Draw both figures."""
    rows = rows_of(Path(page).read_text(encoding="utf-8"))
    with matplotlib.rc_context(STYLE):
        draw(rows, by_minutes, minutes)
        draw(rows, by_bytes, sizes)


if __name__ == "__main__":
    main(*sys.argv[1:])
