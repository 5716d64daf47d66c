"""The travelling salesman: the shortest closed tour of places in the plane."""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from evoprune import Evaluation, InputError, Permutation, Problem, Reporting, Result, Settings
from evoprune.plugins import (
    BLUE,
    ORANGE,
    Outcome,
    digits,
    entitle,
    find_file,
    missing_files,
    new_figure,
    read_columns,
    read_lines,
    save_figure,
)


class Places(NamedTuple):
    """Names and coordinates of places, in the order of their file."""

    names: Sequence[Any]
    x: Sequence[float]
    y: Sequence[float]


def read_places(path: Path) -> Places:
    """Return the places in a TSPLIB file (.tsp), or a CSV file with the columns x, y and, perhaps, name."""
    places = _read_tsplib(path) if path.suffix == ".tsp" else _read_csv(path)
    if len(places.names) < 2 or len({*places.names}) < len(places.names):
        raise InputError("expected at least two places, with different names", str(path))
    return places


def _read_csv(path: Path) -> Places:
    columns = read_columns(path, texts=["name"])
    if not {"x", "y"} <= {*columns} <= {"name", "x", "y"}:
        raise InputError(f"expected the columns x, y and, perhaps, name, got {', '.join(columns)}", str(path))
    return Places(columns.get("name", range(len(columns["x"]))), columns["x"], columns["y"])


def _read_tsplib(path: Path) -> Places:
    """Read Euclidean coordinates (Reinelt, "TSPLIB", ORSA Journal on Computing 3, 1991)."""
    header: dict[str, str] = {}
    rows: list[tuple[int, float, float]] = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if words == ["EOF"]:
            break
        try:
            if "NODE_COORD_SECTION" in header and words:
                name, x, y = words
                rows.append((int(name), float(x), float(y)))
                if not math.isfinite(rows[-1][1] + rows[-1][2]):
                    raise ValueError
        except ValueError:
            raise InputError(f"line {number}: expected a whole number and two numbers", str(path)) from None
        key, _, value = line.partition(":")
        header[key.strip()] = value.strip()
    if header.get("EDGE_WEIGHT_TYPE") != "EUC_2D" or not rows:
        raise InputError("expected EDGE_WEIGHT_TYPE: EUC_2D, and a NODE_COORD_SECTION", str(path))
    if header.get("DIMENSION", str(len(rows))) != str(len(rows)):
        raise InputError(f"expected {header['DIMENSION']} places, as DIMENSION says, got {len(rows)}", str(path))
    return Places(*zip(*rows, strict=True))


class TourSettings(Settings):
    """Parameters of the tour problem."""

    places: str = Field("problems/berlin52.tsp", description="a TSPLIB file (.tsp, EUC_2D), or a CSV file: name, x, y")
    rounded: bool | None = Field(None, description="distances in whole numbers, as TSPLIB's; null: of .tsp files alone")


class TourResult(Result):
    """The keys of the engine, and the tour."""

    tour: list[int | str]  #: names of the places, in the order of the tour


class Tour(Problem, Reporting):
    """Visit each place once and return, on the shortest way (the travelling salesman problem)."""

    Settings = TourSettings
    Result = TourResult
    settings: TourSettings

    def __init__(self, settings: TourSettings) -> None:
        super().__init__(settings)
        self._path = find_file(settings.places)
        self.places = read_places(self._path)
        points = [*zip(self.places.x, self.places.y, strict=True)]
        rounded = self._path.suffix == ".tsp" if settings.rounded is None else settings.rounded
        self._distances = [[math.dist(one, other) for other in points] for one in points]
        if rounded:
            self._distances = [[float(int(distance + 0.5)) for distance in row] for row in self._distances]

    @cached_property
    def space(self) -> Permutation:
        return Permutation(self.places.names)

    def evaluate(self, genome: Sequence[int], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        length, row = 0.0, self._distances[genome[-1]]
        for place in genome:
            length += row[place]
            row = self._distances[place]
        return Evaluation((length,))

    def fingerprint(self) -> dict[str, str]:
        return {"places": hashlib.sha256(self._path.read_bytes()).hexdigest()[:16]}

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        length, best = outcome.best_evaluation.values[0], list(map(int, outcome.best))
        height, width = (max(values) - min(values) for values in (self.places.y, self.places.x))
        figure, axes = new_figure(7.0, 1.0 + 6.0 * min(1.2, max(0.3, height / (width or 1.0))))
        x, y = ([values[place] for place in [*best, best[0]]] for values in (self.places.x, self.places.y))
        axes.plot(x, y, color=BLUE)
        axes.plot(x, y, "o", color=ORANGE, markersize=4)
        axes.set_aspect("equal")
        entitle(axes, f"A tour of {len(best)} places, {digits(length)} long", outcome.title)
        save_figure(figure, folder, "tour")
        words = f"The best tour of {len(best)} places; its length is {digits(length)}."
        return {"tour": self.space.chosen(best), "figures": {"tour": words}}

    @classmethod
    def missing(cls, settings: TourSettings) -> list[str]:
        return missing_files(places=settings.places)

    @classmethod
    def about(cls, settings: TourSettings) -> str:
        return Path(settings.places).stem

    @classmethod
    def summary(cls, result: TourResult) -> list[str]:
        return [f"a tour of {len(result.tour)} places, {digits(result.best.fitness[0])} long"]

    @classmethod
    def labels_of(cls, settings: TourSettings) -> tuple[str, ...]:  # noqa: ARG003 - the same for all
        return ("length",)
