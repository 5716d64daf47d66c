"""The best so far of several runs in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evoprune.console.formatting import digits, plain
from evoprune.figures import COLOURS, GREY, entitle, log_scale_if_wide, new

Curve = Sequence[tuple[int, float]]
"""Generations, and the best after each."""


def draw(curves: Mapping[str, Curve], references: Mapping[str, float], label: str, about: str) -> Figure:
    """A line for each of ``curves`` by run, and one for each of the ``references`` that all runs share.

    ``label``: the objective. ``about``: what the runs are on, if it is the same.
    """
    figure, axes = new()
    for (name, curve), colour in zip(curves.items(), COLOURS * len(curves), strict=False):
        axes.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=name)
    for (name, value), style in zip(references.items(), ("--", ":") * len(references), strict=False):
        axes.axhline(value, color=GREY, linestyle=style, label=f"{name}: {digits(value)}")
    shown = [value for curve in curves.values() for _, value in curve]
    log_scale_if_wide(axes, [*shown, *references.values()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="generation", ylabel=label)
    entitle(axes, "Best so far", about)
    axes.legend(fontsize="small")
    return figure


def in_words(curves: Mapping[str, Curve]) -> str:
    """What :func:`draw` shows, for who cannot see it."""
    told = [f"{name}: {plain(curve[0][1])} to {plain(curve[-1][1])}" for name, curve in curves.items()]
    return f"The best of each run after each generation, from the first to the last. {'; '.join(told)}."
