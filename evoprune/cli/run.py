"""The commands ``run``, ``resume`` and ``validate``; and the messages and the export at the end of a run."""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

import evoprune.cli.options as shared
from evoprune.api import Run
from evoprune.backends.evaluation import this_worker
from evoprune.backends.execution import Execution
from evoprune.cli.options import add_command, add_execution, read_execution, under_scoop
from evoprune.console.errors import InputError, Stopped
from evoprune.console.progress import Progress, note
from evoprune.experiment.config import dumped
from evoprune.experiment.options import add_set
from evoprune.experiment.resolve import refuse_missing
from evoprune.exports.exporting import is_draft
from evoprune.files.json_files import write_json
from evoprune.files.locks import claimed
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import part_class, reporting
from evoprune.records import run_folder
from evoprune.records.run_folder import Promise
from evoprune.records.status import StatusFile, find_runs, read_status
from evoprune.search import run as search
from evoprune.search.forecast import measure
from evoprune.search.search import write_repeatable_config


def add_run(commands: Any) -> None:
    example = "python -m evoprune run problems/gpt2_mini.yaml --set operators.mate.use=uniform --seed 1"
    parser = add_command(commands, run, "run an experiment", example)
    shared.add_experiment(parser)
    add_execution(parser)
    add_place(parser, "the file's name")
    parser.add_argument("--print-config", action="store_true", help="print the resolved experiment and stop")


def add_place(parser: argparse.ArgumentParser, named_after: str) -> None:
    """Add ``--runs-dir`` and ``--name``."""
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the run's folder is made")
    parser.add_argument("--name", help=f"the folder's name (default: {named_after} and the time)")


@contextmanager
def alone(options: argparse.Namespace, out: Path | None = None) -> Iterator[None]:
    """Claim the run's named folder, if any, and ``out``, so that a second equal command is refused."""
    with ExitStack() as stack:
        for path in (options.runs_dir / options.name if options.name else None, out):
            if path is not None:
                stack.enter_context(claimed(path))
        yield


def run(options: argparse.Namespace) -> int | None:
    """Run a search, and write its result into a folder."""
    execution = read_execution(options)
    resolved = shared.read_experiment(options)
    if options.print_config:
        print(dumped(resolved.config()), end="")
        return None
    if (code := under_scoop(execution, options)) is not None:
        return code
    with alone(options):
        folder = run_folder.choose(options.runs_dir, options.name, Path(options.file).stem)
        run_and_print(lambda: search.run(resolved, folder, execution), folder)
    return 0


def add_resume(commands: Any) -> None:
    example = "python -m evoprune resume runs/gpt2_mini-20250101-120000-4711 --set generations=40"
    parser = add_command(commands, resume, "continue a run that ended early", example)
    about = "the folder of a run, or one that contains runs: all that ended early are continued"
    parser.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR", help=about)
    add_set(parser, "generations, budget, max_failures, or a key that no score depends on, such as problem.recover")
    add_execution(parser)


def resume(options: argparse.Namespace) -> int | None:
    """Continue runs that ended early, or add generations to one that is done."""
    execution = read_execution(options)
    if (code := under_scoop(execution, options)) is not None:
        return code
    folders = runs_in(options.folders, lambda run: read_status(run).resumable, "ended early; nothing to continue")
    code = 0
    for folder in folders:
        try:
            complete(folder, execution, options.set)
        except (InputError, Stopped) as error:
            if folder == folders[-1] and not code:
                raise
            print(f"evoprune: {error}", file=options.errors)  # which --quiet does not silence
            code = error.exit_code
        this_worker.forget()  # the run's problem, which may be large
    return code


def complete(folder: Path, execution: Execution, overrides: Sequence[str] = ()) -> None:
    """Continue the run in ``folder``, its experiment changed by ``overrides``; then write its page and export."""
    run_and_print(lambda: search.resume(folder, overrides, execution), folder)
    keep_promise(folder)


def runs_in(folders: Sequence[Path], wanted: Callable[[Path], bool], words: str) -> list[Path]:
    """Return ``folders``, each folder of runs replaced by its ``wanted`` runs, which ``words`` describe."""
    runs = []
    for folder in folders:
        if run_folder.has_experiment(folder) or not any(folder.rglob(run_folder.CONFIG)):
            runs.append(folder)
            continue
        for run in find_runs(folder):
            try:
                runs += [run] if wanted(run) else []
            except InputError as error:
                note(f"left out: {error}")
    if not runs:
        raise InputError(f"holds no run that {words}", str(folders[0]))
    return runs


def add_validate(commands: Any) -> None:
    example = "python -m evoprune validate problems/gpt2_mini.yaml --measure"
    parser = add_command(commands, validate, "check an experiment without running anything", example)
    shared.add_experiment(parser)
    parser.add_argument("--measure", action="store_true", help="load the problem, and say how long a run takes")
    add_execution(parser)


def validate(options: argparse.Namespace) -> None:
    """Check an experiment without running anything."""
    execution = read_execution(options, scoop_for="run")
    resolved = shared.read_experiment(options)
    refuse_missing(resolved, options.file)
    if not options.measure:
        print(f"{options.file}: valid (data are not read; --measure reads them, and says how long a run takes)")
        return
    print(f"{options.file}: valid", *measure(resolved, execution).lines(), sep="\n")


def run_and_print(call: Callable[[], bool], folder: Path) -> None:
    """Call ``call``, which runs in ``folder``, and print its result, or how to continue."""
    try:
        ran = call()
    except (KeyboardInterrupt, Stopped):
        if folder.exists():
            if (folder / run_folder.HISTORY).exists():
                print(f"the scores so far are in {folder / run_folder.HISTORY}", file=sys.stderr)
            _say_how_to_continue(folder)
        raise
    if not ran:
        more = "" if Promise.read(folder) else "; to extend it, raise generations or budget, as in --set generations=N"
        print(f"the run is done already{more}")
    print(*_outcome(Run.open(folder)), sep="\n")


def _outcome(run: Run) -> Iterator[str]:
    problem, folder, promise = run.resolved.problem, shlex.quote(str(run.folder)), Promise.read(run.folder)
    yield from reporting(problem).summary(run.result)
    error = run.result.standard_error
    spread = "" if error is None else f" ± {error:.2g}"
    yield f"best fitness {run.best.fitness[0]:.6g}{spread} after {run.result.evaluations:,} evaluations"
    yield f"result, figures and history: {run.folder}"
    if promise is None:
        yield f"a page: python -m evoprune report {folder}"
    if part_class(problem, Exporting) and not (promise and promise.out):
        yield f"to export it: python -m evoprune export {folder} OUT"


def keep_promise(folder: Path) -> None:
    """Write the page and the export that the run in ``folder`` was begun for, if ``promised.json`` asks for them."""
    if not (promise := Promise.read(folder)):
        return
    from evoprune.report import write  # imports a Markdown parser, slow for --help

    lines: list[str] = []
    exporting = time.monotonic()
    try:
        try:
            if promise.out:
                with run_folder.locked(folder):
                    lines = Run.open(folder).export(promise.out, **promise.options).lines(Path(promise.out))
        finally:
            times = _times(Run.open(folder), promise, time.monotonic() - exporting)
            write_json(folder / run_folder.TIMES, times)
            with Progress("writing the page"):
                page, _ = write([folder], folder / "report.html")
            print(f"the page: {page}")
    except (KeyboardInterrupt, Stopped) as error:
        if error.__cause__ or not isinstance(error, Stopped):  # an export that failed its check is complete
            _say_how_to_continue(folder)
        raise
    run = Run.open(folder)
    write_repeatable_config(folder, run.resolved.problem, run.result)
    print(*(f"{name}: {tqdm.format_interval(seconds)}" for name, seconds in times.items()), sep="\n")
    print(f"to repeat it: python -m evoprune run {shlex.quote(str(folder / run_folder.CONFIG))}", *lines, sep="\n")
    (folder / run_folder.PROMISED).unlink()


def _times(run: Run, promise: Promise, exporting: float) -> dict[str, float]:
    """Return the seconds of each phase of a planned ``run``."""
    searching = run.result.seconds
    return {
        "planning": promise.planning,
        "search": searching,
        "report": max(0.0, StatusFile(run.folder).seconds - searching),
        "export": exporting,
    }


def _say_how_to_continue(folder: Path) -> None:
    if (promise := Promise.read(folder)) and promise.out and is_draft(promise, Path(promise.out)):
        print(f"the best candidate so far, not measured yet: {promise.out}", file=sys.stderr)
    print(f"to continue: python -m evoprune resume {shlex.quote(str(folder))}", file=sys.stderr)
