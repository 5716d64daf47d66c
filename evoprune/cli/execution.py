"""The options for backends, workers and devices, and what `run` and `resume` have in common."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from evoprune.api import Run
from evoprune.backends import launch
from evoprune.backends.execution import MAPS, Execution
from evoprune.errors import Stopped
from evoprune.interfaces.export import Exporting
from evoprune.interfaces.parts import reporting
from evoprune.records.run_folder import HISTORY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--map`` and the options that belong to it."""
    group = parser.add_argument_group(
        "execution", "where candidates are evaluated; with the same --threads, the history does not depend on it"
    )
    group.add_argument("--map", choices=MAPS, help="default: processes where there are several workers, else serial")
    group.add_argument(
        "-n", "--workers", type=int, metavar="N", help="parallel evaluations (default: one for each device)"
    )
    group.add_argument("--devices", default="auto", metavar="LIST", help="auto, cpu, or a list such as cuda:0,cuda:1")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of an evaluation (default: cores/workers)")
    group.add_argument("--scheduler", metavar="ADDRESS", help="Dask's scheduler, such as tcp://host:8786")
    group.add_argument("--hostfile", metavar="FILE", help="SCOOP's hosts: lines 'host n', this host first")
    group.add_argument(
        "--stall-after",
        type=float,
        metavar="SECONDS",
        help="stop when no result arrives for so long (default: ten times the slowest so far, 60 at least; an hour "
        "before the first)",
    )


def read(options: argparse.Namespace) -> Execution:
    """The execution that ``options`` name. Raises :class:`evoprune.InputError`."""
    devices = () if options.devices == "auto" else tuple(options.devices.split(","))
    return Execution(
        options.map or ("scoop" if launch.running() else None),
        launch.size() or options.workers,
        devices,
        options.threads,
        options.scheduler,
        options.hostfile,
        options.stall_after,
    )


def under_scoop(how: Execution, options: argparse.Namespace) -> int | None:
    """Start this command again under SCOOP if it must run there; return its exit code, or None if it need not."""
    if how.map != "scoop" or launch.running():
        return None
    return launch.launch(options.arguments, how.workers, how.hostfile)


def carry_out(call: Callable[[], bool], folder: Path) -> None:
    """Call ``call``, which runs in ``folder``, and print its result, or how to continue."""
    try:
        ran = call()
    except (KeyboardInterrupt, Stopped):
        if folder.exists():
            if (folder / HISTORY).exists():
                print(f"the scores so far are in {folder / HISTORY}", file=sys.stderr)
            print(f"to continue: python -m evoprune resume {shlex.quote(str(folder))}", file=sys.stderr)
        raise
    if not ran:
        print("the run is done already; to extend it, raise generations or budget, as in --set generations=N")
    print(*_outcome(Run.open(folder)), sep="\n")


def _outcome(run: Run) -> Iterator[str]:
    """What the run found, where that is, and which commands can follow."""
    problem, folder = run.resolved.problem, shlex.quote(str(run.folder))
    yield from reporting(problem).summary(run.result)
    yield f"best fitness {run.best.fitness[0]:.6g} after {run.result.evaluations:,} evaluations"
    yield f"result, figures and history: {run.folder}"
    yield f"a page: python -m evoprune report {folder}"
    if issubclass(problem, Exporting):
        yield f"to export it: python -m evoprune export {folder} OUT"
