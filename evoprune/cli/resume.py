"""``evoprune resume RUN_DIR...``: continue runs that ended early, or add generations to one that is done."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.backends.evaluation import this_worker
from evoprune.cli import execution, experiment
from evoprune.cli.promised import keep
from evoprune.errors import InputError, Stopped


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "resume",
        help="continue a run that ended early",
        description=__doc__,
        epilog="example: python -m evoprune resume runs/gpt2_mini-20250101-120000-4711 --set generations=40",
    )
    parser.add_argument(
        "folders",
        type=Path,
        nargs="+",
        metavar="RUN_DIR",
        help="the folder of a run, or one that contains runs, of which those that ended early are continued",
    )
    experiment.add_set(
        parser, "generations, budget, max_failures, or what no score depends on, such as problem.recover; repeatable"
    )
    execution.add_arguments(parser)
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> int | None:
    """Continue the runs that ``options`` name, one after the other; one that cannot be continued stops no other."""
    from evoprune.cli.runs import to_continue
    from evoprune.search.run import resume  # as in run: NumPy and matplotlib

    how = execution.read(options)
    code = execution.under_scoop(how, options)
    if code is not None:
        return code
    folders = to_continue(options.folders)
    code = 0
    for folder in folders:
        try:
            execution.carry_out(lambda folder=folder: resume(folder, options.set, how), folder)  # type: ignore[misc]
            keep(folder)
        except (InputError, Stopped) as error:
            if folder == folders[-1] and not code:
                raise
            print(f"evoprune: {error}", file=options.errors)  # which --quiet does not silence
            code = error.exit_code
        this_worker.forget()  # the run's problem, which may be large
    return code
