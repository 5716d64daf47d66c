"""``evoprune export RUN_DIR OUT``: write a run's best candidate in a form that other tools use, and check it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.cli import experiment, problem_options
from evoprune.exports.exporting import refuse_unless_free
from evoprune.exports.hub import push, refuse_unready


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "export",
        help="write a run's best candidate for other tools",
        description=__doc__,
        epilog="example: python -m evoprune export runs/gpt2_mini-20260101-120000-4711 pruned --dtype float16",
    )
    parser.add_argument("run", metavar="RUN_DIR", help="the folder of a finished run")
    parser.add_argument(
        "out",
        metavar="OUT",
        type=Path,
        help="the folder to make, or a file with a suffix that the problem knows; it must not exist",
    )
    experiment.add_set(
        parser, "override a key of the run's experiment, as in problem.model=where/it/is/now or problem.device=cpu"
    )
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="upload it to this repository of the Hugging Face hub, which is made, private, if it is not there; "
        "evoprune.json and experiment.yaml hold the names of your files",
    )
    problem_options.add(parser, "ExportOptions")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Export the run that ``options`` name."""
    refuse_unless_free(options.out)
    if options.push:
        refuse_unready(options.push)
    exported = Run.open(options.run, options.set).export(options.out, **problem_options.given(options))
    print(*exported.summary, sep="\n")
    print(f"written and checked: {options.out}")
    if options.push:
        print(f"uploaded: {push(options.out, options.push)}")
