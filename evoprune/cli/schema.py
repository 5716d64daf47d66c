"""``evoprune schema``: the JSON Schema of experiments, which editors complete and check YAML files by."""

from __future__ import annotations

import argparse
import json
from typing import Any

from evoprune.experiment.catalogue import json_schema


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of experiments, for editors",
        description=__doc__,
        epilog="example: evoprune schema > evoprune.schema.json",
    )
    parser.set_defaults(call=call)


def call(_: argparse.Namespace) -> None:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=1))
