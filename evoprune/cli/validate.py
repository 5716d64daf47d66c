"""``evoprune validate PROBLEM.yaml``: check an experiment without loading or running anything."""

from __future__ import annotations

import argparse
from typing import Any

from evoprune.cli import experiment


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser("validate", help="check an experiment", description=__doc__)
    experiment.add_arguments(parser)
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Check the experiment that ``options`` name."""
    experiment.read(options)
    print(f"{options.file}: valid (data are not read)")
