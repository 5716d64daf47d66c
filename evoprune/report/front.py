"""The page about a front, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evoprune.figures import save
from evoprune.fronts.figure import draw, in_words, interactive, row_id
from evoprune.fronts.points import Front
from evoprune.report.page import fill


def write(front: Front, folder: Path) -> tuple[Path, Path]:
    """Write ``front.html``, the same as Markdown, and a figure for each axis, ``front_AXIS.png`` and ``.svg``.

    All go into ``folder``. Returns the first two. Raises :class:`evoprune.InputError` where they cannot be written.
    """
    page = fill("front", {"front": _told(front, folder)}, folder / "front.html")
    for axis in front.axes:
        save(draw(front, axis), folder, f"front_{axis}")
    return page


def _told(front: Front, folder: Path) -> dict[str, Any]:
    """What the templates take."""
    kept = {axis: front.kept(axis, front.measured(axis)) for axis in front.axes}
    ordered = sorted(front.points, key=lambda point: point.values[front.worth])
    return {
        "name": folder.resolve().name,
        "measured_on": front.measured_on,
        "figures": [(interactive(front, axis), in_words(front, axis)) for axis in front.axes],
        "head": ["file", *(quantity.label for quantity in front.quantities.values()), "unbeaten in"],
        "rows": [
            (
                row_id(front, point),
                [
                    point.name,
                    *map(point.told, front.quantities),
                    ", ".join(axis for axis in front.axes if point in kept[axis]) or "-",
                ],
            )
            for point in ordered
        ],
        "unfit": front.unfit,
    }
