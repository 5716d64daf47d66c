"""Reads a finished or unfinished run for its page."""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from evoprune.api import Run
from evoprune.console.errors import InputError
from evoprune.console.formatting import Share, flat, interval
from evoprune.exports.exporting import FACTS, metadata_path
from evoprune.figures.search import draw_convergence
from evoprune.files.json_files import read_json
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import Reporting, Shown, part_class, reporting, titles
from evoprune.interfaces.result import Best, Result
from evoprune.records import recorded
from evoprune.records.history import is_generation, may_win, order
from evoprune.records.recorded import read_experiment
from evoprune.records.run_folder import ENVIRONMENT, EXPORTED, HISTORY, RESULT, TIMES
from evoprune.records.status import read_status

# keys of a result with their own part of the page
_ELSEWHERE = {"best", "protocol", "genes", "curve", "figures", "work_unit", "seconds", "seconds_evaluating"}
_MOST_COLUMNS = 20  # a table with more is for programs, which read result.json
ERROR = "standard error of the fitness"  # its label
Json = dict[str, Any]


class Export(NamedTuple):
    """An export of a run: its place and its ``evoprune.json``."""

    out: Path
    facts: Mapping[str, Any]


class Reported:
    """A run, its history, and its figures (SVG) by name."""

    def __init__(self, run: Run, lines: list[Json], figures: Mapping[str, bytes], finished: bool) -> None:
        self.run, self.lines, self.figures, self.finished = run, lines, figures, finished
        self.name, self.status = run.folder.resolve().name, read_status(run.folder)
        self.resolved, self.settings = run.resolved, flat(run.resolved.config())
        self.problem, self.reporting = run.resolved.problem, reporting(run.resolved.problem)
        self.objectives = self.problem.labels_of(run.resolved.settings)
        self.about, _ = _titles(run)
        self.generations = [line for line in lines if is_generation(line)]

    @cached_property
    def facts(self) -> Json:
        """The best fitness and the single values of the result, by their labels."""
        words = {
            "work": f"work, in {self.problem.work_unit}",
            "evaluations": "candidates evaluated",
            "failures": "candidates that failed",
            "standard_error": ERROR,
            "chosen": "who won the finals",
            **self.reporting.words,
        }
        values = {f"{name} of the best": v for name, v in zip(self.objectives, self.run.best.fitness, strict=True)}
        for key, value in self.run.result.as_json().items():
            if _is_single(value) and key not in _ELSEWHERE:
                named = words.get(value, value) if isinstance(value, str) else value
                values[words.get(key, key)] = _shown(named, key in self.reporting.shares)
        return values

    @cached_property
    def tables(self) -> dict[str, Json]:
        """The result's tables by name: row to column to value."""
        tables = {}
        for key, value in self.run.result.as_json().items():
            if isinstance(value, dict) and value and key not in _ELSEWHERE:
                rows = _rows(value, key, self.reporting)
                if all(len(row) <= _MOST_COLUMNS for row in rows.values()):
                    tables[self.reporting.words.get(key, key)] = rows
        return tables

    @cached_property
    def exported(self) -> Export | None:
        """The last export of the run's result, if it has a verdict."""
        path = self.run.folder / EXPORTED
        exporting = part_class(self.problem, Exporting)
        if not path.exists() or exporting is None:
            return None
        out = Path(str(read_json(path).get("out")))
        facts = read_json(metadata_path(out, FACTS, exporting.writes_file(out)), missing={})
        if not facts.get("verdict") or facts.get("best") != self.run.best.model_dump(mode="json"):
            return None
        return Export(out, facts)

    @cached_property
    def verdict(self) -> str:
        """The verdict on the export, or on the result; empty if there is none."""
        if self.exported:
            return str(self.exported.facts["verdict"])
        return next(iter(self.reporting.summary(self.run.result)), "") if self.finished else ""

    @cached_property
    def shown(self) -> Shown:
        """The problem's parts of the page; none for an unfinished run."""
        facts = self.exported.facts if self.exported else None
        return self.reporting.shown(self.run.result, facts) if self.finished else Shown()

    @cached_property
    def environment(self) -> Json:
        return read_json(self.run.folder / ENVIRONMENT, missing={})

    @property
    def planned(self) -> bool:
        return (self.run.folder / TIMES).exists()

    @cached_property
    def seconds(self) -> dict[str, str]:
        """The times of phases, and the search's evaluations, in words."""
        result = self.run.result
        times = read_json(self.run.folder / TIMES) if self.planned else {"search": result.seconds}
        words = {name: interval(value) for name, value in times.items()}
        return words | {"evaluations, summed over workers": interval(result.seconds_evaluating)}

    @property
    def nested(self) -> Json:
        """The numbers in :attr:`tables`, by the words of table, row and column."""
        return {
            " ".join(filter(None, [title, row, column])): cell
            for title, rows in self.tables.items()
            for row, cells in rows.items()
            for column, cell in cells.items()
            if is_number(cell)
        }


def read_run(folder: Path) -> Reported:
    """Read the run in ``folder``. Raises InputError if nothing is scored yet."""
    if (folder / RESULT).exists() and not read_status(folder).is_running:
        run = Run.open(folder)
        drawn = {name: path.read_bytes() for name, path in run.figures.items()}
        return Reported(run, run.lines, drawn, finished=True)
    run, lines = so_far(folder)
    with TemporaryDirectory() as place:
        label, *_ = run.resolved.problem.labels_of(run.resolved.settings)
        draw_convergence(lines, label, Path(place), *_titles(run))
        drawn = {"convergence": (Path(place) / "convergence.svg").read_bytes()}
    return Reported(run, lines, drawn, finished=False)


def so_far(folder: Path) -> tuple[Run, list[Json]]:
    """Return the run in ``folder`` with its best so far as the result, and the history."""
    if not (folder / HISTORY).exists() and read_status(folder).is_running:
        raise InputError("has only begun", str(folder))
    resolved = read_experiment(folder)
    signs = resolved.problem.signs_of(resolved.settings)
    lines = list(recorded.lines(folder / HISTORY))
    whole = [line for line in lines if may_win(line) and not line.get("failure")]
    if not whole:
        raise InputError("no candidate has been scored on all the data yet", str(folder))
    best = Best.model_validate(max(whole, key=lambda line: order(line, signs)))
    scores = [line for line in lines if "candidate" in line and not line["memo"]]
    return Run(folder, resolved, Result(best=best, evaluations=len(scores), seed=resolved.experiment.seed)), lines


def _titles(run: Run) -> tuple[str, Collection[str]]:
    return titles(run.resolved.problem, run.resolved.settings, run.resolved.experiment.seed)


def _rows(value: Json, key: str, labels: type[Reporting]) -> dict[str, Json]:
    """Return rows of columns, without lists; a mapping of single values becomes one row."""
    rows = value if all(isinstance(row, dict) for row in value.values()) else {"": value}
    words, shares = labels.words, labels.shares
    return {
        words.get(name, name): {
            words.get(k, k): _shown(cell, not shares.isdisjoint({key, name, k}))
            for k, cell in row.items()
            if _is_single(cell)
        }
        for name, row in rows.items()
    }


def _shown(value: Any, share: bool) -> Any:
    if isinstance(value, str):
        return value.replace("\n", "\N{RETURN SYMBOL}")  # which a page would show as nothing
    return Share(value) if share and isinstance(value, float | int) else value


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_single(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or value is None
