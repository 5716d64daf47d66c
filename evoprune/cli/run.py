"""``evoprune run PROBLEM.yaml``: run a search, and write its result into a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from evoprune.cli import execution, experiment
from evoprune.records import run_folder


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "run",
        help="run an experiment",
        description=__doc__,
        epilog="example: python -m evoprune run problems/gpt2_mini.yaml --set operators.mate.use=uniform --seed 1",
    )
    experiment.add_arguments(parser)
    execution.add_arguments(parser)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the run's folder is made")
    parser.add_argument("--name", help="the folder's name (default: the file's name and the time)")
    parser.add_argument("--print-config", action="store_true", help="print the resolved experiment and stop")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> int | None:
    """Run the experiment that ``options`` name."""
    from evoprune.search.run import run  # brings in NumPy and matplotlib, which --help should not wait for

    how = execution.read(options)
    resolved = experiment.read(options)
    if options.print_config:
        yaml.safe_dump(resolved.config(), sys.stdout, sort_keys=False, allow_unicode=True)
        return None
    code = execution.under_scoop(how, options)
    if code is not None:
        return code
    folder = run_folder.choose(options.runs_dir, options.name, Path(options.file).stem)
    execution.carry_out(lambda: run(resolved, folder, how), folder)
    return 0
