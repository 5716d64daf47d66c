"""Draw a table of losses after some minutes: ``python -m tests.benchmarks.minutes PAGE OUT.png``.

PAGE: a page with a table under the heading "Loss against minutes", whose columns are model, name, MB, minutes, GB,
divergence, and bits a byte behind the source; rows without minutes are files of other programs.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure

from evoprune.figures import COLOURS, GREY, STYLE

_TICKS = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]

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


def main(page: str, out: str) -> None:
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
            losses = [row.behind for row in own]
            ticks = [tick for tick in _TICKS if min(losses) / 1.5 <= tick <= 1.5 * max(losses)]
            axes.set_ylim(bottom=min(losses) / 1.5)
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
        figure.savefig(out, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
