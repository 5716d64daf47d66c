"""``evoprune report RUN_DIR...``: one page about a run, or about several side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "report",
        help="write a page about one run or several",
        description=__doc__,
        epilog="example: python -m evoprune report runs/seed0 runs/seed1 runs/seed2 --out seeds.html",
    )
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help="the folders of finished runs")
    parser.add_argument("--out", type=Path, help="the page (default: report.html in the first run's folder)")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Write the page on the runs that ``options`` name."""
    from evoprune.report import write  # brings in Jinja2, which --help should not wait for

    html, markdown = write(options.runs, options.out or options.runs[0] / "report.html")
    print(f"{html}\n{markdown}")
