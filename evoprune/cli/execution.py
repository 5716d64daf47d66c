"""The arguments that say where and by how many an experiment is evaluated, and what `run` and `resume` both do."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.backends import launch
from evoprune.backends.execution import MAPS, Execution
from evoprune.errors import Stopped
from evoprune.problem import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--map`` and what goes with it."""
    group = parser.add_argument_group(
        "execution", "where candidates are scored; given the same --threads, the history does not depend on it"
    )
    group.add_argument("--map", choices=MAPS, help="default: processes where there are several workers, else serial")
    group.add_argument("-n", "--workers", type=int, metavar="N", help="evaluations at once (default: one a device)")
    group.add_argument("--devices", default="auto", metavar="LIST", help="auto, cpu, or a list such as cuda:0,cuda:1")
    group.add_argument("--threads", type=int, metavar="N", help="CPU threads of an evaluation (default: cores/workers)")
    group.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, such as tcp://host:8786")
    group.add_argument("--hostfile", metavar="FILE", help="of SCOOP: lines 'host n', this host first")
    group.add_argument("--stall-after", type=float, metavar="SECONDS", help="stop when no result comes for so long")


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
    """Start this very command under SCOOP if that is where it belongs; its exit code, or None if it is there."""
    if how.map != "scoop" or launch.running():
        return None
    return launch.launch(options.arguments, how.workers, how.hostfile)


def carry_out(call: Callable[[], dict[str, Any] | None], folder: Path) -> None:
    """Run ``call`` in ``folder`` and print what came of it, or how to go on."""
    try:
        result = call()
    except (KeyboardInterrupt, Stopped):
        if folder.exists():
            print(f"what was scored so far is in {folder / 'history.jsonl'}", file=sys.stderr)
            print(f"to go on from there: python -m evoprune resume {shlex.quote(str(folder))}", file=sys.stderr)
        raise
    if result is None:
        print("the run is done already; for more, give a larger generations or budget, as in --set generations=N")
    print(*_outcome(Run.open(folder)), sep="\n")


def _outcome(run: Run) -> Iterator[str]:
    """What the run found, where that is, and what may be done with it next."""
    problem, folder = run.resolved.problem, shlex.quote(str(run.folder))
    yield f"best fitness {run.best.fitness[0]:.6g} after {run.result['evaluations']:,} evaluations"
    yield from problem.summary(run.result)
    yield f"result, figures and history: {run.folder}"
    yield f"a page: python -m evoprune report {folder}"
    if problem.export is not Problem.export:
        yield f"a model: python -m evoprune export {folder} OUT"
