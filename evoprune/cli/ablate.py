"""The commands ``ablate`` and ``front``, which vary keys of an experiment."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from evoprune.cli.options import (
    add_command,
    add_declared,
    add_execution,
    add_set,
    read_declared,
    read_execution,
    under_scoop,
)
from evoprune.console.formatting import aligned
from evoprune.errors import InputError, Stopped
from evoprune.experiment.resolve import resolve_file
from evoprune.records import run_folder
from evoprune.records.run_folder import check_name

# keys that are the same for all variants, and the option that sets them
_SHARED = {"seed": "--seeds", "budget": "--budget", "generations": "--budget"}


def add_ablate(commands: Any) -> None:
    varied = "operators.mate=blend,uniform"
    example = f"python -m evoprune ablate problems/gpt2_mini.yaml --vary {varied} --seeds 5 --budget 400000"
    parser = add_command(commands, ablate, "compare variants of an experiment", example)
    _add_varied(parser, "values of a key; repeat for all combinations")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="runs of each variant (default: 5)")
    parser.add_argument(
        "--budget", type=float, required=True, metavar="N", help="work of each run, in the problem's unit"
    )
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the ablation's folder is made")
    parser.add_argument("--name", help="the folder's name; an ablation that exists is continued")
    add_execution(parser)


def _add_varied(parser: argparse.ArgumentParser, values: str) -> None:
    parser.add_argument("file", metavar="PROBLEM.yaml", help="the experiment; see the folder problems/")
    parser.add_argument("--vary", action="append", required=True, metavar="KEY=A,B", help=values)
    add_set(parser, "for all of them, as in run")


def ablate(options: argparse.Namespace) -> int | None:
    """Compare variants of an experiment at an equal budget, over several seeds."""
    # these bring in SciPy, NumPy and matplotlib, which --help should not wait for
    from evoprune.ablation.campaign import Campaign
    from evoprune.ablation.grid import variants
    from evoprune.ablation.results import write_results
    from evoprune.ablation.runs import carry_out
    from evoprune.report import write

    if not 1 <= options.seeds <= 10_000:
        raise InputError(f"expected a number between 1 and 10000, got {options.seeds}", "--seeds")
    if not 0 < options.budget < float("inf"):
        raise InputError(f"expected a number above 0, got {options.budget:g}", "--budget")
    how = read_execution(options)
    if (code := under_scoop(how, options)) is not None:
        return code
    folder = run_folder.choose(options.runs_dir, options.name, f"{Path(options.file).stem}-ablation", may_exist=True)
    varied = variants(options.vary, _SHARED)
    resolved = [resolve_file(options.file, [*options.set, *variant.settings]) for variant in varied]
    labels = {one.problem.labels_of(one.settings)[0] for one in resolved}
    asked = Campaign(
        file=options.file,
        settings=options.set,
        variants=varied,
        seeds=options.seeds,
        budget=options.budget,
        unit=resolved[0].problem.work_unit,
        label=labels.pop() if len(labels) == 1 else None,
        environment=run_folder.environment(),
    )
    try:
        runs = list(carry_out(asked, folder, how))
    except (KeyboardInterrupt, Stopped):
        if folder.exists():
            print(f"to continue: give the same command with --name {shlex.quote(folder.name)}", file=sys.stderr)
        raise
    print(write_results(runs, asked, folder))
    html, _ = write([folder], folder / "report.html")
    print(f"table, curves and runs: {folder}\nthe same as a page: {html}")
    return 0


def add_front(commands: Any) -> None:
    example = (
        "python -m evoprune front problems/gpt2_mini_joint.yaml "
        "--vary problem.budget.at_most=1400000,1600000,2200000 --out runs/mini-front"
    )
    told = "search at several limits, export each result, and draw what they are worth"
    parser = add_command(commands, front, told, example)
    _add_varied(parser, "values of a key, as in ablate: the limits")
    parser.add_argument("--out", type=Path, required=True, metavar="FRONT", help="the front's folder; it may exist")
    parser.add_argument(
        "--rivals",
        action="store_true",
        help="also export what results are compared with: the dense model, uniform ones and llama.cpp's presets, say",
    )
    parser.add_argument("--family", help="the folder in it for these exports (default: the experiment's name)")
    add_execution(parser)
    add_declared(parser, "ExportOptions")


def front(options: argparse.Namespace) -> None:
    """Search at several limits, and export each result.

    The page in FRONT shows the worth of all exports in its folders against their cost; a folder is a family of them.
    The command may be interrupted and given again.
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
