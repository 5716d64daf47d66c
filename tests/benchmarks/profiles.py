"""Measures the shape of what searches found: is it an inverted U, do seeds agree, does it grow smoother?

Run it from the project's folder on runs with a gene for each block, a name for each kind of search:

    python -m tests.benchmarks.profiles --out docs "genetic algorithm=runs/ga-0,runs/ga-1" "other=runs/other-0"

Draws ``profiles`` (PNG and SVG) and prints a line of JSON for each run. ``parabola``: the share of the
variance over blocks that the best quadratic explains; ``bend``: its second derivative's sign, -1
for an inverted U. ``roughness``: the mean step between neighbouring blocks, of the best
candidate after each quarter of the work. ``agreement``: the mean correlation with the other seeds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from evoprune.ablation.runs import improvements
from evoprune.figures import COLOURS, GREY, new, save
from evoprune.records import recorded, run_folder

_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Trace:
    """The best genomes of one run, and the work after which each was found."""

    name: str
    work: list[float]
    bests: list[list[float]]

    @property
    def profile(self) -> numpy.ndarray:
        """The best of all."""
        return numpy.array(self.bests[-1])

    def roughness(self) -> list[float]:
        """Of the best so far, after each of the ``_QUARTERS`` of the work up to the last improvement."""
        at = [max(i for i, work in enumerate(self.work) if i == 0 or work <= q * self.work[-1]) for q in _QUARTERS]
        return [round(float(numpy.abs(numpy.diff(self.bests[i])).mean()), 4) for i in at]


def main(arguments: list[str] | None = None) -> None:
    """Measure and draw the runs that ``arguments`` name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("searches", nargs="+", metavar="NAME=RUN,RUN", help="a kind of search and its runs")
    parser.add_argument("--out", type=Path, default=Path(), help="where the figure goes (default: here)")
    options = parser.parse_args(arguments)
    searches = {}
    for text in options.searches:
        name, _, folders = text.partition("=")
        searches[name] = [trace(Path(folder)) for folder in folders.split(",")]
    for name, traces in searches.items():
        for line in measures(traces):
            print(json.dumps({"search": name} | line))
    draw(searches, options.out)


def trace(folder: Path) -> Trace:
    """The improvements of the run in ``folder``, of candidates that were scored in full."""
    found = list(improvements(recorded.lines(folder / run_folder.HISTORY), weight=-1.0))
    return Trace(folder.name, [work for work, _ in found], [line["genome"] for _, line in found])


def measures(traces: list[Trace]) -> list[dict[str, Any]]:
    """The numbers of each run of one kind of search."""
    correlations: dict[str, list[float]] = {one.name: [] for one in traces}
    for one, other in combinations(traces, 2):
        both = float(numpy.corrcoef(one.profile, other.profile)[0, 1])
        correlations[one.name].append(both)
        correlations[other.name].append(both)
    found = []
    for one in traces:
        at = numpy.arange(len(one.profile))
        fit = numpy.polynomial.Polynomial.fit(at, one.profile, 2)
        share = 1 - (one.profile - fit(at)).var() / one.profile.var()
        agreement = correlations[one.name]
        found.append(
            {
                "run": one.name,
                "parabola": round(float(share), 3),
                "bend": int(numpy.sign(fit.deriv(2)(0))),
                "roughness": one.roughness(),
                "agreement": round(fmean(agreement), 3) if agreement else None,
            }
        )
    return found


def draw(searches: dict[str, list[Trace]], folder: Path) -> None:
    """A panel for each kind of search: every seed's profile, their mean, and its best quadratic."""
    figure, axes = new(width=8.0, height=2.9 * len(searches))
    axes.remove()
    panels = figure.subplots(len(searches), sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, traces) in zip(panels, searches.items(), strict=True):
        _panel(axes, name, traces)
    panels[-1].set_xlabel("transformer block")
    most = max(panels, key=lambda panel: len(panel.lines))
    figure.legend(*most.get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=5)
    save(figure, folder, "profiles")


def _panel(axes: Axes, name: str, traces: list[Trace]) -> None:
    profiles = numpy.array([one.profile for one in traces])
    at = numpy.arange(profiles.shape[1])
    for number, profile in enumerate(profiles):
        axes.plot(at, profile, color=COLOURS[number], marker="o", markersize=3, linewidth=1, label=f"seed {number}")
    mean = profiles.mean(0)
    axes.plot(at, mean, color="black", linewidth=2.5, label="mean of the seeds")
    fit = numpy.polynomial.Polynomial.fit(at, mean, 2)
    axes.plot(at, fit(at), color=GREY, linestyle="--", label="the mean's best quadratic")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(alpha=0.3)
    axes.set(title=name, ylabel="sparsity")


if __name__ == "__main__":
    main()
