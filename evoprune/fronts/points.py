"""The points of a front: the exports in families, the folders of its folder, and the unbeaten ones among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from evoprune.console.formatting import plain
from evoprune.errors import InputError
from evoprune.experiment.resolve import resolve_at
from evoprune.exports.exporting import EXPERIMENT, FACTS
from evoprune.files.json_files import read_json
from evoprune.interfaces.export import Exporting, Quantity


@dataclass(frozen=True)
class Point:
    """An export. ``name``: its path within the front's folder; ``values``: by quantity, as far as measured."""

    family: str
    name: str
    values: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The name without folder and suffix."""
        return PurePosixPath(self.name).stem

    def told(self, key: str) -> str:
        value = self.values.get(key)
        return f"{value:,}" if isinstance(value, int) else plain(value)

    def beats(self, other: Point, compared: Mapping[str, Quantity]) -> bool:
        """Return whether this is better than ``other`` in one of the quantities ``compared``, and worse in none."""
        signs = {key: 1.0 if quantity.better == "lower" else -1.0 for key, quantity in compared.items()}
        pairs = [(sign * self.values[key], sign * other.values[key]) for key, sign in signs.items()]
        return all(mine <= theirs for mine, theirs in pairs) and any(mine < theirs for mine, theirs in pairs)


@dataclass(frozen=True)
class Front:
    """All exports in a folder. ``unfit``: why others are no points, a line each. ``subject``: of all, for titles."""

    quantities: Mapping[str, Quantity]
    measured_on: str
    points: list[Point]
    unfit: list[str]
    subject: str = ""

    @property
    def worth(self) -> str:
        return next(iter(self.quantities))

    @property
    def axes(self) -> list[str]:
        """The quantities that the worth is drawn against: those that are better one way, and measured."""
        compared = [key for key, quantity in self.quantities.items() if quantity.better and key != self.worth]
        return [key for key in compared if self.measured(key)]

    def measured(self, axis: str) -> list[Point]:
        found = [point for point in self.points if point.values.get(axis) is not None]
        return sorted(found, key=lambda point: point.values[axis])

    def kept(self, axis: str, points: Sequence[Point]) -> list[Point]:
        """Return the ``points`` that no other one beats, in worth and on ``axis``; equal ones are all kept."""
        compared = {key: self.quantities[key] for key in (self.worth, axis)}
        return [point for point in points if not any(other.beats(point, compared) for other in points)]


def read(folder: Path) -> Front:
    """Read the exports in the folders of ``folder``, which must have been measured on the same."""
    points, unfit, known = [], [], None
    for facts_file in sorted([*folder.glob(f"*/*.{FACTS}"), *folder.glob(f"*/*/{FACTS}")]):
        facts, (out, problem) = read_json(facts_file), _described(facts_file)
        name = out.relative_to(folder).as_posix()
        if not facts.get("fit"):
            unfit.append(f"{name}: {'; '.join(map(str, facts.get('faults', [])))}")
            continue
        try:
            standing = problem.standing(facts)
        except InputError as error:
            raise InputError(error.problems, str(facts_file)) from None
        known = known or (problem.quantities, standing.measured_on, name, standing.subject)
        if (problem.quantities, standing.measured_on) != known[:2]:
            raise InputError(
                f"was measured on {standing.measured_on}, and {known[2]} on {known[1]}: they cannot be compared; "
                "keep it in the folder of another front",
                str(out),
            )
        points.append(Point(out.relative_to(folder).parts[0], name, standing.values))
    if known is None:
        raise InputError("holds no folder with an export that is fit for use", str(folder))
    return Front(known[0], known[1], points, unfit, known[3])


def _described(facts_file: Path) -> tuple[Path, type[Exporting]]:
    """Return the export that ``facts_file`` describes, and its problem."""
    stem = facts_file.name.removesuffix(FACTS).removesuffix(".")
    in_folder = not stem
    experiment = facts_file.with_name(EXPERIMENT if in_folder else f"{stem}.{EXPERIMENT}")
    problem = resolve_at(experiment, []).problem
    if not issubclass(problem, Exporting):
        raise InputError(f"the problem {problem.__name__} exports nothing", str(experiment))
    if in_folder:
        return facts_file.parent, problem
    for suffix in problem.file_suffixes():
        if (out := facts_file.with_name(f"{stem}{suffix}")).is_file():
            return out, problem
    raise InputError(
        f"is missing, though {facts_file.name} describes it: put it back, or delete {stem}.* to export it again",
        str(facts_file.with_name(stem)),
    )
