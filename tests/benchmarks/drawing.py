"""Draw the figures of docs/measurements/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune.figures import BLUE, GREY, ORANGE, log_scale_if_wide, new, save, thousands

_NAMES = {"plain": "plain", "evopress": "EvoPress's", "ours": "ours", "compiled": "ours, compiled"}


def draw(figures: dict[str, Any], folder: Path) -> None:
    """What of ``figures`` can be drawn: candidates a second of each way, and cost against tokens."""
    if "race" in figures:
        _draw_race(figures["race"], folder)
    if "growth" in figures:
        _draw_tokens(figures["growth"]["tokens"], folder)


def _draw_race(race: dict[str, Any], folder: Path) -> None:
    figure, axes = new()
    ways = list(race["ways"])
    for shift, kind, colour, label in (
        (-0.19, "unrelated", BLUE, "unrelated candidates"),
        (0.19, "children", ORANGE, "children that differ in 2 to 6 blocks"),
    ):
        heights = [race["ways"][way][kind]["per_second"] for way in ways]
        bars = axes.bar([index + shift for index in range(len(ways))], heights, width=0.36, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2g", padding=2)
    floor = 1 / race["products"]
    fastest = [race["ways"][way]["children"]["per_second"] for way in ways]
    axes.axhline(floor, color=GREY, linestyle="--", label=f"matrix products alone, unrelated: {floor:.2g}")
    axes.set_xticks(range(len(ways)), [_NAMES[way] for way in ways])
    axes.set(ylabel="candidates a second", title="Scoring candidates", ylim=(0, 1.35 * max(floor, *fastest)))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")
    save(figure, folder, "performance")


def _draw_tokens(seconds: dict[str, dict[Any, float]], folder: Path) -> None:
    figure, axes = new()
    for way, colour in (("plain", BLUE), ("ours", ORANGE)):
        points = sorted((int(tokens), taken) for tokens, taken in seconds[way].items())
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=4, label=_NAMES[way])
    axes.set_xscale("log", base=2)
    thousands(axes.xaxis)
    log_scale_if_wide(axes, [taken for by in seconds.values() for taken in by.values()])
    axes.set(xlabel="tokens scored", ylabel="seconds a candidate", title="Cost against tokens: 12 blocks of width 256")
    axes.legend(loc="upper left")
    save(figure, folder, "performance_tokens")
