"""Runs from Python: ``run(spec)`` in this process, and a finished :class:`Run` to read, export and measure.

A run's folder may come from anywhere: it is checked when it is read, and nothing is unpickled. But its ``config.yaml``
may name ``plugins``, which are imported, a problem's settings may allow more code to run (``trust_remote_code``), and
``promised.json`` names a path that ``resume`` exports to: look at them before you use a folder from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evoprune.backends.evaluation import limit_threads, this_worker
from evoprune.console.errors import InputError
from evoprune.console.progress import Progress
from evoprune.experiment import config
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.resolve import Resolved, resolve, resolve_file
from evoprune.exports.exporting import existing_export, export, is_draft, is_one_file
from evoprune.files.json_files import read_json, write_json
from evoprune.files.paths import path_of
from evoprune.interfaces.export import Exported, Exporting, Measuring, Table
from evoprune.interfaces.parts import Part, needed, part
from evoprune.interfaces.problem import Problem
from evoprune.interfaces.result import Best, Result
from evoprune.interfaces.space import frozen
from evoprune.records import recorded, run_folder
from evoprune.records.history import is_generation
from evoprune.records.recorded import read_experiment
from evoprune.records.run_folder import Promise
from evoprune.records.status import StatusFile, no_result_reason
from evoprune.search import toolbox
from evoprune.search.run import run as run_into
from evoprune.search.search import repeatable_config


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder.

    >>> from evoprune import Run
    >>> from evoprune.api import run
    >>> folder = run({"problem": {"use": "benchmark", "function": "sphere"}, "generations": 1}).folder
    >>> len(Run.open(folder).best.fitness)
    1
    """

    folder: Path
    resolved: Resolved
    result: Result  #: result.json as its problem's own class of results

    @property
    def best(self) -> Best:
        return self.result.best

    @classmethod
    def open(cls, folder: str | Path, overrides: Sequence[str] = ()) -> Run:
        """The finished run in ``folder``, its experiment changed by ``overrides`` as ``--set`` does."""
        folder = path_of(folder, "folder")
        resolved = read_experiment(folder, overrides)
        if not (folder / run_folder.RESULT).exists():
            raise InputError(no_result_reason(folder), str(folder))
        return cls(folder, resolved, recorded.read_result(folder, resolved.problem.Result))

    @cached_property
    def problem(self) -> Problem:
        """The problem, loaded at the first use."""
        limit_threads(self._threads)
        with Progress(f"loading {self.folder}"):
            ref = toolbox.problem_ref(self.resolved, run_folder.read_measured(self.folder))
            problem = this_worker.problem(ref)  # that of a run which ended now, if it is this one
        if not problem.space.allow(frozen(self.best.genome)):
            raise InputError(
                f"best.genome: expected one of {problem.space.describe()}; is this the result of "
                "another experiment than config.yaml's?",
                str(self.folder / run_folder.RESULT),
            )
        return problem

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of ``history.jsonl``, see :mod:`evoprune.records.history`."""
        return _lines(self.folder)

    @property
    def history(self) -> Any:
        """The candidates, see :func:`read_history`."""
        return read_history(self.folder)[0]

    @property
    def generations(self) -> Any:
        """The population's spread after each generation, see :func:`read_history`."""
        return read_history(self.folder)[1]

    @property
    def figures(self) -> dict[str, Path]:
        """The figures by name, as SVG files."""
        images = sorted(self.folder.glob("*.svg"))
        return {path.stem: path for path in images if path.is_file() and not path.is_symlink()}

    def export(self, out: str | Path, /, **options: Any) -> Exported:
        """Write the best candidate to ``out``, a folder or file by its suffix; ``options`` are the problem's.

        Raises :class:`evoprune.Stopped` where the check of the export fails.
        """
        exporting = self._class(Exporting, "export")
        checked = check_parameters(exporting.ExportOptions, options, "options")

        def write(place: Path) -> Exported:
            return self._part(Exporting).export(self.best.genome, self.result, place, checked)

        out, promise = path_of(out, "out"), Promise.read(self.folder)
        provenance = {"seed": self.resolved.experiment.seed, "best": self.best.model_dump()}
        experiment = repeatable_config(self.resolved.config(), self.resolved.problem, self.result)
        is_file, drafted = is_one_file(exporting, out), is_draft(promise, out)
        promised = promise and (promise.out, promise.options) == (str(out.absolute()), options)
        left = StatusFile(self.folder).seconds_left() if promised else None
        if left is not None and "seconds" in type(checked).model_fields:
            checked = checked.model_copy(update={"seconds": left})
        # a kill may have come after the export
        exported = existing_export(out, provenance, is_file) if promised and not drafted else None
        exported = exported or export(out, write, provenance, experiment, is_file, drafted)
        with suppress(OSError):  # of somebody else's folder
            write_json(self.folder / run_folder.EXPORTED, {"out": str(out.absolute())})
        return exported

    def compare(self, **options: Any) -> Table:
        """Measure the best candidate and the known solutions; ``options`` are the problem's."""
        checked = check_parameters(self._class(Measuring, "measure beyond its fitness").EvalOptions, options, "options")
        measuring = self._part(Measuring)
        with Progress("measuring"):
            return measuring.compare(self.best.genome, self.result, checked)

    def _class(self, wanted: type[Part], does: str) -> type[Part]:
        return needed(self.resolved.problem, wanted, does, str(self.folder))

    def _part(self, wanted: type[Part]) -> Part:
        instance = part(self.problem, wanted)
        assert instance is not None  # its class was found before
        return instance

    @property
    def _threads(self) -> int | None:
        """The threads of each evaluation of the run, if they were set: they are a part of the keys of the cache."""
        execution = read_json(self.folder / run_folder.ENVIRONMENT, missing={}).get("execution")
        threads = execution.get("threads") if isinstance(execution, dict) else None
        return threads if isinstance(threads, int) and 0 < threads <= (os.cpu_count() or 1) else None


def run(
    spec: str | Path | Mapping[str, Any] | Resolved,
    overrides: Sequence[str] = (),
    runs_dir: str | Path = "runs",
    name: str | None = None,
) -> Run:
    """Run an experiment: a YAML file or mapping, changed by ``overrides`` as ``--set`` does, or a resolved one."""
    stem = "run"
    if isinstance(spec, Resolved):
        resolved = spec
    elif isinstance(spec, Mapping):
        resolved = resolve(config.override(config.plain(spec, "spec"), overrides), "spec")
    else:
        file = path_of(spec, "spec")
        resolved, stem = resolve_file(str(file), overrides), file.stem
    folder = run_folder.choose(path_of(runs_dir, "runs_dir"), name, stem)
    try:
        run_into(resolved, folder)
    finally:
        this_worker.forget()  # the run's problem, which may be large
    return Run.open(folder)


def read_history(folder: str | Path) -> tuple[Any, Any]:
    """Return tables of the candidates, in the order of breeding, and of the generations of a run, finished or not.

    The tables are pandas ``DataFrame``, or where pandas is not installed, lists by column.
    """
    lines = _lines(path_of(folder, "folder"))
    return _columns([line for line in lines if "candidate" in line]), _columns([*filter(is_generation, lines)])


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / run_folder.HISTORY
    if not path.exists():
        raise InputError(f"there is no {path.name}; expected the folder of a run", str(folder))
    return list(recorded.lines(path, whole=True))


def _columns(lines: Sequence[Mapping[str, Any]]) -> Any:
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = {name: [line.get(name) for line in lines] for name in names}
    if find_spec("pandas") is None:
        return columns
    import pandas

    return pandas.DataFrame(columns)
