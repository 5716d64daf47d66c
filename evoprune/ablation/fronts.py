"""Fronts: one experiment at several limits, each result exported and measured; a table and a picture of the exports."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evoprune.ablation.runs import Variant
from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, Stopped, blamed_on
from evoprune.console.formatting import aligned, plain
from evoprune.console.progress import note
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.resolve import Resolved, resolve_at
from evoprune.exports.exporting import EXPERIMENT, FACTS
from evoprune.figures.search import draw_front
from evoprune.files.json_files import read_json, write_json
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import needed
from evoprune.search.run import refuse_other_experiment, run_to_its_end


class Point(NamedTuple):
    """An export. ``name``: its path within the front's folder, without suffix; ``values``: by label, less is better."""

    name: str
    values: Mapping[str, float]


def names(variants: Sequence[Variant]) -> list[str]:
    """Return a file name for each of ``variants``, from the values."""
    values = [[setting.partition("=")[2] for setting in variant.settings] for variant in variants]
    files = ["-".join(re.sub(r"[^\w.]+", "_", value) for value in of_keys) for of_keys in values]
    if len(set(files)) < len(files):
        raise InputError("two values would have the same file name; give one of them another --family", "--vary")
    return files


def make_exports(plans: Mapping[str, Resolved], family: Path, execution: Execution, options: Mapping[str, Any]) -> None:
    """Run each of ``plans``, experiments by name, and export the result into the folder ``family``; none twice.

    A failed export is reported; the others are made.
    """
    for name, resolved in plans.items():
        exporting = needed(resolved.problem, Exporting, "export", "front")
        check_parameters(exporting.ExportOptions, options, "options")  # before hours of searching
        refuse_other_experiment(resolved, family / "runs" / name, "give another --family, or another --out")
    for name, resolved in plans.items():
        suffix = next(iter(needed(resolved.problem, Exporting, "export", "front").file_suffixes()), "")
        out, place = family / f"{name}{suffix}", family / "runs" / name
        run_to_its_end(resolved, place, execution)
        if out.exists():
            continue
        evaluation.this_worker.forget()  # there may be no room for two
        try:
            note("\n".join([f"{out}:", *Run.open(place).export(out, **options).summary]))
        except (InputError, Stopped) as error:
            note(f"{out}: {error}")


def read(folder: Path) -> tuple[list[Point], list[str]]:
    """The exports in the folders of ``folder``, the best first, and a line for each that is unfit for use.

    Raises InputError where there is none, or where they were not measured on the same data.
    """
    points, unfit, before = [], [], None
    for path in sorted([*folder.glob(f"*/*.{FACTS}"), *folder.glob(f"*/*/{FACTS}")]):
        facts, name = read_json(path), path.relative_to(folder).as_posix().removesuffix(FACTS).rstrip("./")
        problem = resolve_at(path.with_name(path.name.replace(FACTS, EXPERIMENT)), []).problem
        exporting = needed(problem, Exporting, "export", str(path))
        if not facts.get("fit"):
            unfit.append(f"{name}: {'; '.join(map(str, facts.get('faults', [])))}")
            continue
        with blamed_on(str(path)):
            values, measured_on = exporting.compared(facts)
            before = before or (name, measured_on)
            if measured_on != before[1]:
                raise InputError(f"was measured on {measured_on}, and {before[0]} on {before[1]}; use another --out")
        points.append(Point(name, values))
    if not points:
        raise InputError("holds no folder with an export that is fit for use", str(folder))
    return sorted(points, key=lambda point: next(iter(point.values.values()))), unfit


def write(points: Sequence[Point], folder: Path) -> str:
    """Write ``front.json`` and the picture ``front``, in which a folder is a family; return the table as text."""
    labels = list(dict.fromkeys(label for point in points for label in point.values))
    write_json(folder / "front.json", {point.name: dict(point.values) for point in points})
    families: dict[str, list[list[float]]] = {}
    for point in points:
        row = [point.values.get(label, math.nan) for label in labels]
        families.setdefault(point.name.partition("/")[0], []).append(row)
    if len(labels) > 1:
        draw_front(families, labels, [-1.0] * len(labels), folder, folder.resolve().name)
    rows = [[point.name, *(plain(point.values.get(label)) for label in labels)] for point in points]
    return "\n".join(aligned([["", *labels], *rows]))
