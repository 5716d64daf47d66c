"""The command ``front``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.cli.options import add_command, add_declared, add_execution, add_set, read_declared, read_execution
from evoprune.console.formatting import aligned
from evoprune.experiment.resolve import resolve_file
from evoprune.records.run_folder import check_name


def add_front(commands: Any) -> None:
    """Add the command ``front``."""
    example = (
        "python -m evoprune front problems/gpt2_mini_joint.yaml "
        "--vary problem.budget.at_most=1400000,1600000,2200000 --out runs/mini-front"
    )
    told = "search at several limits, export each result, and draw what they are worth"
    parser = add_command(commands, front, told, example)
    parser.add_argument("file", metavar="PROBLEM.yaml", help="the experiment; see the folder problems/")
    parser.add_argument(
        "--vary", action="append", required=True, metavar="KEY=A,B", help="values of a key, as in ablate: the limits"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FRONT", help="the front's folder; it may exist")
    parser.add_argument(
        "--rivals",
        action="store_true",
        help="also export what results are compared with: the dense model, uniform ones and llama.cpp's presets, say",
    )
    parser.add_argument("--family", help="the folder in it for these exports (default: the experiment's name)")
    add_set(parser, "for all points, as in run")
    add_execution(parser)
    add_declared(parser, "ExportOptions")


def front(options: argparse.Namespace) -> None:
    """Search at several limits, and export each result.

    The page in FRONT shows all exports in its folders: the worth of each against its cost. A folder is a family of
    them. Each is a file that was written, loaded again and measured; the command may be interrupted and given again.
    """
    # these bring in NumPy and matplotlib, which --help should not wait for
    from evoprune.ablation.grid import variants
    from evoprune.fronts.page import write
    from evoprune.fronts.points import read
    from evoprune.fronts.run import add_rivals, carry_out, names, plan

    how = read_execution(options, scoop_for="'run'")
    family = options.family or Path(options.file).stem
    check_name(family, "--family")
    varied = variants(options.vary)
    resolved = [resolve_file(options.file, [*options.set, *one.settings]) for one in varied]
    chosen = read_declared(options)
    plans = plan(dict(zip(names(varied), resolved, strict=True)), options.out / family, chosen)
    carry_out(plans, how, chosen)
    if options.rivals:
        add_rivals(plans, options.out, chosen)
    found = read(options.out)
    html, _ = write(found, options.out)
    compared = [found.worth, *found.axes]
    rows = [[point.name, *map(point.told, compared)] for point in found.points]
    print(*aligned([["", *(found.quantities[key].label for key in compared)], *rows]), sep="\n")
    print(*(f"unfit: {line}" for line in found.unfit), f"the page: {html}", sep="\n")
