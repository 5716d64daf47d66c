"""The style of all figures, saving them as PNG and SVG, and the convergence figure.

Functions import matplotlib, which is slow to import, where they draw.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprune.console.formatting import digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# colours that colour-blind readers can distinguish (Okabe and Ito)
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9", GREY, "#000000")  # of curves in one figure

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 11,
    "legend.frameon": False,
    "svg.hashsalt": "evoprune",  # the same data gives the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of runs and models may contain dollars
}


def new(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` x ``height`` inches, drawn without a display."""
    figure, (axes,) = panels(1, width, height)
    return figure, axes


def panels(count: int, width: float = 7.0, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """An empty figure as of :func:`new`, with ``count`` panels side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def save(figure: Figure, folder: Path, name: str) -> None:
    """Save ``figure`` as ``name.png`` and ``name.svg`` in ``folder``."""
    _write(figure, folder / f"{name}.png", format="png", dpi=150)
    (folder / f"{name}.svg").write_bytes(svg(figure))


def svg(figure: Figure) -> bytes:
    """``figure`` as an SVG file's content."""
    content = BytesIO()
    _write(figure, content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _write(figure: Figure, place: Path | BytesIO, **options: Any) -> None:
    import matplotlib
    from matplotlib.text import Text

    for part in figure.findobj(Text):  # drawn outside of the style
        part.set_parse_math(False)
    with matplotlib.rc_context(STYLE):
        figure.savefig(place, **options)


def entitle(axes: Axes, title: str, about: str) -> None:
    """Set the ``title`` of ``axes`` and, smaller, the subtitle ``about``."""
    axes.set_title(title, pad=20 if about else None)
    offset: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(about, (0.5, 1), (0, 6), ha="center", fontsize=9, color=GREY, **offset)


def thousands(axis: Axis) -> None:
    """Label ``axis`` with plain numbers, a comma after each three digits: for counts."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if abs(value) < 1e6 else f"{value:,.0f}"))


def log_scale_if_wide(axes: Axes, values: Sequence[float]) -> None:
    """A log scale with plain numbers where positive ``values`` span a factor of 5."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if not values or min(values) <= 0 or max(values) < 5 * min(values):
        return
    axes.set_yscale("log")
    few_decades = max(values) < 1000 * min(values)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_decades else (1.0,)))
    thousands(axes.yaxis)
    axes.yaxis.set_minor_formatter(NullFormatter())


_LEAST = 1e-4  # share of the largest loss below which a log scale becomes linear, down to 0: lossless models


def scale_losses(axes: Axes, values: Sequence[float]) -> None:
    """Scale the vertical axis as :func:`log_scale_if_wide` does, also where the least of ``values`` is 0."""
    least = _LEAST * max(values)
    log_scale_if_wide(axes, values if min(values) < 0 else [max(value, least) for value in values])
    if axes.get_yscale() == "log" and min(values) < least:
        axes.set_yscale("symlog", linthresh=least, linscale=1.0)
        axes.set_ylim(bottom=0)
        thousands(axes.yaxis)


_WIDE, _MARKS = 3.0, (1, 1.5, 2, 3, 4, 5, 6, 8)  # ratio of amounts from which a log scale is used, and its marks


def scale_amounts(axes: Axes, values: Sequence[float]) -> None:
    """Scale and label the horizontal axis for ``values``."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

    if min(values) > 0 and max(values) > _WIDE * min(values):  # a dense file far from all others, say
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=_MARKS))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    if max(values) < 1e6:
        thousands(axes.xaxis)
    else:
        axes.xaxis.set_major_formatter(EngFormatter())  # 60 M: longer numbers would touch each other


def draw_convergence(
    history: Sequence[dict[str, Any]], label: str, folder: Path, about: str = "", drawn: Collection[str] = ()
) -> None:
    """Draw best, median and middle half of the population against generations, from history lines.

    ``label``: of the first objective. ``drawn``: references that become lines.
    """
    from matplotlib.ticker import MaxNLocator

    lines = [line for line in history if "best" in line and line["best"] is not None]
    figure, axes = new()
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
    save(figure, folder, "convergence")


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
    save(figure, folder, "front")


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] >= other[0] and one[1] >= other[1]
