"""The commands ``status`` and ``report``."""

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evoprune.cli.options import add_command
from evoprune.cli.run import runs_in
from evoprune.console.errors import InputError
from evoprune.console.formatting import aligned, interval, plain
from evoprune.records.run_folder import RESULT
from evoprune.records.status import Status, find_runs, read_status


def add_status(commands: Any) -> None:
    parser = add_command(commands, status, "show the state and progress of runs", "python -m evoprune status runs")
    about = "the folder of a run, or one with runs at any depth, such as an ablation (default: runs)"
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("runs")], metavar="RUN_DIR", help=about)
    parser.add_argument("--json", action="store_true", help="print JSON")


def status(options: argparse.Namespace) -> None:
    """Show the progress of runs, or of all runs in a folder."""
    runs = {run: folder for folder in options.folders for run in find_runs(folder)}
    alone = list(runs) == options.folders
    statuses = [read_status(run) if alone and len(runs) == 1 else _read_or_report(run) for run in runs]
    if options.json:
        print(json.dumps([asdict(one) | {"folder": str(one.folder)} for one in statuses], indent=2))
        return
    if alone and len(runs) == 1:
        cells = {"run": str(statuses[0].folder)} | _cells(statuses[0])
        print(*(f"{name}: {cell}" for name, cell in cells.items() if cell != "-"), sep="\n")
    else:
        names = [str(run if alone else run.relative_to(folder)) for run, folder in runs.items()]
        rows = [{"run": name} | _cells(one) for name, one in zip(names, statuses, strict=True)]
        print(*aligned([list(rows[0]), *(list(row.values()) for row in rows)]), sep="\n")
    for line in _advice(statuses):
        print(line)


def _read_or_report(folder: Path) -> Status:
    """One run that cannot be read must not hide the others."""
    try:
        return read_status(folder)
    except (InputError, OSError) as error:
        return Status(folder, "unreadable", str(error))


def _cells(status: Status) -> dict[str, str]:
    generation = "-" if status.generation is None else f"{status.generation}/{status.generations}"
    if status.budget:
        spent = min(1.0, status.work / status.budget)
        generation = f"{plain(status.generation)}, {spent:.0%} of the budget"
    return {
        "state": status.state,
        "generation": generation,
        "phase": plain(status.phase),
        "evaluations": str(status.evaluations),
        "best": plain(status.best),
        "time left": interval(status.seconds_left),
    }


def _advice(statuses: Sequence[Status]) -> Iterator[str]:
    for status in statuses:
        if status.reason and status.state != "done":
            yield f"{status.folder}: {status.reason}"
        if status.promised and status.state == "done":
            yield f"{status.folder}: its result is not exported yet"
        if status.resumable:
            yield f"to continue: python -m evoprune resume {shlex.quote(str(status.folder))}"


# by the name of the option, and of the extra that it needs
_TRACKERS = {
    "tensorboard": "TensorBoard, as event files in its folder tensorboard",
    "wandb": "Weights & Biases, or with WANDB_MODE=offline its folder wandb",
    "mlflow": "MLflow, to where MLFLOW_TRACKING_URI says",
}


def add_report(commands: Any) -> None:
    example = "python -m evoprune report runs/seed0 runs/seed1 runs/seed2 --out seeds.html"
    parser = add_command(commands, report, "write a page about runs", example)
    about = "folders of runs, finished or not, or folders of runs, such as an ablation's"
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help=about)
    parser.add_argument("--out", type=Path, help="the page (default: report.html in the first folder)")
    for name, tracker in _TRACKERS.items():
        about = f"hand each run's history to {tracker}; pip install 'evoprune[{name}]'"
        parser.add_argument(f"--{name}", action="store_true", help=about)


def report(options: argparse.Namespace) -> None:
    """Write one page about a run, or about several side by side."""
    from evoprune.report import write  # imports a Markdown parser, slow for --help
    from evoprune.report.reading import so_far
    from evoprune.report.trackers import TRACKERS, read_record

    def has_scored(run: Path) -> bool:
        return (run / RESULT).exists() or bool(so_far(run))  # an error where nothing is scored

    runs = [run for folder in options.runs for run in runs_in([folder], has_scored, "has scored anything yet")]
    print(*write(runs, options.out or options.runs[0] / "report.html"), sep="\n")
    for name in (name for name in _TRACKERS if getattr(options, name)):
        for run in runs:
            print(TRACKERS[name](read_record(run)))
