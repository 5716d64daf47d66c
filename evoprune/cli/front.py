"""``evoprune front PROBLEM.yaml --vary KEY=A,B --out FRONT``: the same search at several limits, each result exported.

The page in FRONT shows all exports in its folders: what each is worth, against what it takes. A folder is a family of
them. Each is a file that was written, loaded again and measured; the command may be interrupted and given again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from evoprune.cli import execution, experiment, problem_options
from evoprune.console.formatting import aligned
from evoprune.errors import InputError
from evoprune.experiment.resolve import resolve_file
from evoprune.records.run_folder import check_name


def add_parser(commands: Any) -> None:
    """Add this command to ``commands``."""
    parser = commands.add_parser(
        "front",
        help="search at several limits, export each result, and draw what they are worth",
        description=__doc__,
        epilog="example: python -m evoprune front problems/gpt2_mini_joint.yaml "
        "--vary problem.budget.at_most=1400000,1600000,2200000 --out runs/mini-front",
    )
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
    experiment.add_set(parser, "for all points, as in run")
    execution.add_arguments(parser)
    problem_options.add(parser, "ExportOptions")
    parser.set_defaults(call=call)


def call(options: argparse.Namespace) -> None:
    """Make the front that ``options`` name."""
    # these bring in NumPy and matplotlib, which --help should not wait for
    from evoprune.ablation.grid import variants
    from evoprune.fronts.page import write
    from evoprune.fronts.points import read
    from evoprune.fronts.run import add_rivals
    from evoprune.fronts.run import carry_out, names, plan

    how = execution.read(options)
    if how.map == "scoop":
        raise InputError("is for 'run'", "--map scoop")
    family = options.family or Path(options.file).stem
    check_name(family, "--family")
    varied = variants(options.vary)
    resolved = [resolve_file(options.file, [*options.set, *one.settings]) for one in varied]
    chosen = problem_options.given(options)
    plans = plan(dict(zip(names(varied), resolved, strict=True)), options.out / family, chosen)
    carry_out(plans, how, chosen)
    if options.rivals:
        add_rivals(plans, options.out, chosen)
    front = read(options.out)
    html, _ = write(front, options.out)
    compared = [front.worth, *front.axes]
    rows = [[point.name, *map(point.told, compared)] for point in front.points]
    print(*aligned([["", *(front.quantities[key].label for key in compared)], *rows]), sep="\n")
    print(*(f"unfit: {line}" for line in front.unfit), f"the page: {html}", sep="\n")
