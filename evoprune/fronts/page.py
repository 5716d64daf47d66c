"""The page about a front, and its figures: the worth of each export against its cost."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from evoprune.figures import COLOURS, entitle, new, save, scale_amounts, scale_losses, svg
from evoprune.fronts.points import Front, Point
from evoprune.report.page import Block, Drawing, items, table, text, write_page

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_MARKERS = "osD^vPX*"  # a shape for each family, beside its colour
_PALE = 0.25  # opacity of points that another one beats


def draw(front: Front, axis: str) -> Figure:
    """Draw the worth of each point against ``axis``, beaten ones pale, others named; lines join each family's best."""
    figure, axes = new(width=8.0, height=5.0)
    measured = front.measured(axis)
    kept = front.kept(axis, measured)
    for number, family in enumerate(dict.fromkeys(point.family for point in front.points)):
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}
        style |= {"markersize": 8, "markeredgewidth": 0, "clip_on": False}
        points = [point for point in measured if point.family == family]
        axes.plot(*_places(front, axis, front.kept(axis, points)), color=style["color"], alpha=0.5, linewidth=1)
        axes.plot([], [], linestyle="", label=family, **style)
        for point in points:
            opacity = 1.0 if point in kept else _PALE
            (mark,) = axes.plot(*_places(front, axis, [point]), alpha=opacity, **style)
            mark.set_gid(_mark(front, axis, point))
    worth, along = front.quantities[front.worth], front.quantities[axis]
    scale_losses(axes, [point.values[front.worth] for point in measured])
    scale_amounts(axes, [point.values[axis] for point in measured])
    axes.set(xlabel=along.label, ylabel=worth.label)
    _name(axes, ((point.label, (point.values[axis], point.values[front.worth])) for point in kept))
    way = {"lower": "to the left", "higher": "to the right"}[str(along.better)]
    title = f"{worth.label.partition(',')[0]} against {along.label.partition(',')[0]}"
    better = f"better: {worth.better}, and {way}; pale: another one is at least as good in both"
    entitle(axes, f"{front.subject}: {title}" if front.subject else title[0].upper() + title[1:], better)
    axes.legend(fontsize="small")
    return figure


def describe(front: Front, axis: str) -> str:
    """Return :func:`draw` in words."""
    names = [point.name for point in front.kept(axis, front.measured(axis))]
    worth, along = front.quantities[front.worth].label, front.quantities[axis].label
    return f"{worth[0].upper()}{worth[1:]}, against {along}. Not beaten: {', '.join(names)}."


def write(front: Front, folder: Path) -> tuple[Path, Path]:
    """Write the page as ``front.html`` and Markdown, whose paths are returned, and ``front_AXIS.png`` and ``.svg``."""
    page = write_page(folder.resolve().name, _blocks(front), folder / "front.html")
    for axis in front.axes:
        save(draw(front, axis), folder, f"front_{axis}")
    return page


def _blocks(front: Front) -> Iterator[Block]:
    yield (
        "Every point is a file that was written, loaded again and measured. Point at one to see what it is; its link "
        "leads to its row. Pale points are beaten: another file is at least as good in both, and better in one."
    )
    yield f"Measured on {text(front.measured_on)}."
    for axis in front.axes:
        yield Drawing(axis, interactive(front, axis), describe(front, axis), inline=True)
    yield "## Files"
    unbeaten = {axis: front.kept(axis, front.measured(axis)) for axis in front.axes}
    best_in = {point.name: ", ".join(axis for axis in front.axes if point in unbeaten[axis]) for point in front.points}
    head = ["file", *(quantity.label for quantity in front.quantities.values()), "unbeaten in"]
    ranked = _ranked(front)
    yield table(head, ([p.name, *map(p.told, front.quantities), best_in[p.name] or "-"] for p in ranked))
    yield "The best first."
    if front.unfit:
        yield "## Not shown"
        yield "These failed the check that follows writing."
        yield items(front.unfit)


def interactive(front: Front, axis: str) -> bytes:
    """:func:`draw` as an SVG element: a point says what it is where it is pointed at, and links to its row."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    drawing = ElementTree.fromstring(svg(draw(front, axis)))
    ranked = _ranked(front)
    for point in front.measured(axis):
        (mark,) = drawing.findall(f".//*[@id='{_mark(front, axis, point)}']")
        link = ElementTree.Element(f"{{{_SVG}}}a", {"href": f"#row-{ranked.index(point)}"})
        known = [key for key in front.quantities if point.values.get(key) is not None]
        title = [point.name, *(f"{front.quantities[key].label}: {point.told(key)}" for key in known)]
        ElementTree.SubElement(link, f"{{{_SVG}}}title").text = "\n".join(title)
        link.extend(mark)
        mark[:] = [link]
    for size in ("width", "height"):
        del drawing.attrib[size]  # the page says how wide it is
    drawing.attrib |= {"role": "img", "aria-label": describe(front, axis)}
    return ElementTree.tostring(drawing, encoding="unicode").encode()


def _name(axes: Axes, points: Iterable[tuple[str, tuple[float, float]]]) -> None:
    """Write the names of points beside them, but for those that would lie over another name."""
    written: list[Bbox] = []
    for name, place in points:
        label = axes.annotate(name, place, (6, 4), textcoords="offset points", fontsize="x-small", color="0.35")
        box = label.get_window_extent()
        if any(map(box.overlaps, written)):
            label.remove()
        else:
            written.append(box)


def _ranked(front: Front) -> list[Point]:
    return sorted(front.points, key=lambda point: point.values[front.worth])


def _mark(front: Front, axis: str, point: Point) -> str:
    return f"{axis}-{front.points.index(point)}"


def _places(front: Front, axis: str, points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.values[axis] for point in points], [point.values[front.worth] for point in points]
