"""The style of all figures, and saving them as PNG and SVG.

Functions import matplotlib, which is slow to import, where they draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def new_figure(width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` x ``height`` inches, drawn without a display."""
    figure, (axes,) = panels(1, width, height)
    return figure, axes


def panels(count: int, width: float = 7.0, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """An empty figure as of :func:`new_figure`, with ``count`` panels side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def save_figure(figure: Figure, folder: Path, name: str) -> None:
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
