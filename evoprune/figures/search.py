"""Figures of a search: its convergence, and the front of several objectives."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprune.console.formatting import digits
from evoprune.figures.style import (
    BLUE,
    COLOURS,
    GREY,
    ORANGE,
    entitle,
    log_scale_if_wide,
    new_figure,
    panels,
    save_figure,
    scale_amounts,
    scale_losses,
)


def draw_convergence(
    history: Sequence[dict[str, Any]], label: str, folder: Path, about: str = "", drawn: Collection[str] = ()
) -> None:
    """Draw best, median and middle half of the population against generations, from history lines.

    ``label``: of the first objective. ``drawn``: references that become lines.
    """
    from matplotlib.ticker import MaxNLocator

    lines = [line for line in history if "best" in line and line["best"] is not None]
    figure, axes = new_figure()
    generations = [line["generation"] for line in lines]
    best = [line["best"] for line in lines]
    axes.plot(generations, best, color=ORANGE, marker="o", markersize=3, label="best")
    whole = [line for line in lines if line["median"] is not None and None not in line["quartiles"]]
    at = [line["generation"] for line in whole]
    axes.plot(at, [line["median"] for line in whole], color=BLUE, label="median")
    low, high = ([line["quartiles"][i] for line in whole] for i in (0, 1))
    axes.fill_between(at, low, high, color=BLUE, alpha=0.2, linewidth=0, label="middle half")
    references = {line["reference"]: line["fitness"][0] for line in history if line.get("reference") in drawn}
    lined = {name: value for name, value in references.items() if value is not None}
    for name, style in zip(lined, ("--", ":", "-.", (0, (5, 1))), strict=False):
        axes.axhline(lined[name], color=GREY, linestyle=style, label=f"{name}: {digits(lined[name])}")
    log_scale_if_wide(axes, [*best, *low, *high, *lined.values()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="generation", ylabel=label)
    entitle(axes, "Convergence of the population", about)
    axes.legend()
    save_figure(figure, folder, "convergence")


_BEATEN = 0.25  # opacity of points that another one of their family beats in the two values of a panel
_MARKERS = "osD^vPX*"  # a shape for each family


def draw_front(
    families: Mapping[str, Sequence[Sequence[float]]], labels: Sequence[str], signs: Sequence[float],
    folder: Path, title: str,
) -> None:  # fmt: skip
    """Draw the first value of points against each other value, a panel each; lines join the best of a family.

    ``families``: points by name, a value for each of ``labels``, which is left out if it is not finite. ``signs``:
    negative for values to minimise.
    """
    figure, every = panels(len(labels) - 1, width=max(7.0, 4.5 * (len(labels) - 1)))
    for at, axes in enumerate(every, 1):
        shown: list[float] = []
        for number, (name, points) in enumerate(families.items()):
            both = sorted((point[at], point[0]) for point in points if math.isfinite(point[at] + point[0]))
            worth = {place: (signs[at] * place[0], signs[0] * place[1]) for place in both}
            best = [place for place in both if not any(_beats(worth[other], worth[place]) for other in both)]
            colour, marker = COLOURS[number % len(COLOURS)], _MARKERS[number % len(_MARKERS)]
            style: dict[str, Any] = {"color": colour, "marker": marker}
            for drawn, more in ((best, {"label": name}), (both, {"linestyle": "none", "alpha": _BEATEN})):
                if drawn:
                    axes.plot(*zip(*drawn, strict=True), markersize=4, linewidth=1, **style, **more)
            shown += [place[0] for place in both]
        scale_amounts(axes, shown or [0.0])
        axes.set(xlabel=labels[at])
    losses = [point[0] for points in families.values() for point in points if math.isfinite(point[0])]
    scale_losses(every[0], losses or [0.0])
    every[0].set(ylabel=labels[0])
    every[0].legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    save_figure(figure, folder, "front")


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]
