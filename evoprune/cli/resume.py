"""``evoprune resume RUN_DIR``: continue a run that ended early, or add generations to one that is done."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.cli import execution, experiment


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "resume",
        help="continue a run that ended early",
        description=__doc__,
        epilog="example: python -m evoprune resume runs/gpt2_mini-20250101-120000-4711 --set generations=40",
    )
    parser.add_argument("folder", type=Path, metavar="RUN_DIR", help="the folder of the run")
    experiment.add_set(parser, "generations, budget or max_failures; repeatable")
    execution.add_arguments(parser)
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> int | None:
    """Continue the run that ``options`` name."""
    from evoprune.search.resume import resume  # as in run: NumPy and matplotlib

    how = execution.read(options)
    code = execution.under_scoop(how, options)
    if code is not None:
        return code
    execution.carry_out(lambda: resume(options.folder, options.set, how), options.folder)
    return 0
