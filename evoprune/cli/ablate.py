"""The commands ``ablate`` and ``front``, which vary keys of an experiment."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import evoprune.cli.options as shared
from evoprune.ablation import fronts
from evoprune.ablation.runs import SIGNIFICANT, Planned, enough_seeds, least_p, run_missing, variants
from evoprune.cli.options import add_command, add_execution, read_execution
from evoprune.console.errors import InputError, Stopped
from evoprune.console.progress import note
from evoprune.experiment.options import add_set, read_declared
from evoprune.experiment.resolve import resolve_file
from evoprune.experiment.spec import NO_END
from evoprune.records import run_folder

# keys that are the same for all variants, and the option that sets them
_SHARED = {"seed": "--seeds", "budget": "--budget", "generations": "--budget"}


def add_ablate(commands: Any) -> None:
    varied = "operators.mate=blend,uniform"
    example = f"python -m evoprune ablate problems/gpt2_mini.yaml --vary {varied} --budget 400000"
    parser = add_command(commands, ablate, "compare variants of an experiment", example)
    _add_varied(parser, "values of a key; repeat for all combinations")
    count = f"runs of each variant (default: the fewest with which p can be {SIGNIFICANT}, 6 of 2 variants)"
    parser.add_argument("--seeds", type=int, metavar="N", help=count)
    work = "work of each run, in the problem's unit"
    parser.add_argument("--budget", type=float, required=True, metavar="N", help=work)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="where the ablation's folder is made")
    parser.add_argument("--name", help="the folder's name; an ablation that exists is continued")
    add_execution(parser)


def _add_varied(parser: argparse.ArgumentParser, values: str) -> None:
    parser.add_argument("file", metavar="PROBLEM.yaml", help="the experiment; see the folder problems/")
    parser.add_argument("--vary", action="append", required=True, metavar="KEY=A,B", help=values)
    add_set(parser, "for all variants, as in run")


def ablate(options: argparse.Namespace) -> int | None:
    """Compare variants of an experiment at an equal budget, over several seeds."""
    if not 1 <= (options.seeds or 1) <= 10_000 or options.seeds == 0:
        raise InputError(f"expected a number between 1 and 10000, got {options.seeds}", "--seeds")
    if not 0 < options.budget < float("inf"):
        raise InputError(f"expected a number above 0, got {options.budget:g}", "--budget")
    execution = read_execution(options)
    if (code := shared.under_scoop(execution, options)) is not None:
        return code
    folder = run_folder.choose(options.runs_dir, options.name, f"{Path(options.file).stem}-ablation", may_exist=True)
    if run_folder.has_experiment(folder):
        raise InputError("is the folder of a run; choose another --name, nothing was changed", str(folder))
    varied = variants(options.vary, _SHARED)
    seeds = options.seeds or enough_seeds(len(varied))
    if (least := least_p(len(varied), seeds)) > SIGNIFICANT:
        more = f"--seeds {enough_seeds(len(varied))} could show a difference"
        note(f"with {seeds} seeds and {len(varied)} variants no p can fall below {least:.3g}: {more}")
    settings = [*options.set, f"budget={options.budget}", f"generations={NO_END}"]
    plans = []
    for seed in range(seeds):
        for number, variant in enumerate(varied, 1):
            resolved = resolve_file(options.file, [*settings, *variant.settings, f"seed={seed}"])
            plans.append(Planned(variant.name, seed, folder / f"{number:02d}" / f"seed-{seed}", resolved))
    from evoprune.ablation.results import write_results  # brings in SciPy and matplotlib, slow for --help and mistakes

    labels = {plan.resolved.problem.labels_of(plan.resolved.settings)[0] for plan in plans}
    try:
        runs = list(run_missing(plans, execution))
    except (KeyboardInterrupt, Stopped):
        if folder.exists():
            print(f"to continue: give the same command with --name {shlex.quote(folder.name)}", file=sys.stderr)
        raise
    unit, label = plans[0].resolved.problem.work_unit, labels.pop() if len(labels) == 1 else None
    print(write_results(runs, options.budget, unit, label, folder))
    print(f"table, curves and runs: {folder}")
    return 0


def add_front(commands: Any) -> None:
    example = (
        "python -m evoprune front problems/gpt2_mini_joint.yaml "
        "--vary problem.budget.at_most=1400000,1600000,2200000 --out runs/mini-front"
    )
    parser = add_command(commands, front, "search at several limits, export each result, and compare them", example)
    _add_varied(parser, "values of a key, as in ablate: the limits")
    parser.add_argument("--out", type=Path, required=True, metavar="FRONT", help="the front's folder; it may exist")
    parser.add_argument("--family", help="the folder in it for these exports (default: the experiment's name)")
    add_execution(parser)
    shared.add_declared(parser, "ExportOptions")


def front(options: argparse.Namespace) -> None:
    """Search at several limits, and export each result.

    The table and the picture show all exports in the folders of FRONT, a family a folder. The command may be
    interrupted and given again.
    """
    execution = read_execution(options, scoop_for="'run'")
    family = options.family or Path(options.file).stem
    run_folder.check_name(family, "--family")
    varied = variants(options.vary)
    resolved = [resolve_file(options.file, [*options.set, *one.settings]) for one in varied]
    experiments = dict(zip(fronts.names(varied), resolved, strict=True))
    fronts.make_exports(experiments, options.out / family, execution, read_declared(options))
    points, unfit = fronts.read(options.out)
    print(fronts.write(points, options.out), *(f"unfit: {line}" for line in unfit), sep="\n")
    print(f"the picture: {options.out / 'front.png'}")
