"""The command ``report``."""

import argparse
from pathlib import Path
from typing import Any

from evoprune.ablation.campaign import is_campaign
from evoprune.cli.options import add_command
from evoprune.cli.run import runs_in
from evoprune.errors import InputError
from evoprune.records.run_folder import RESULT
from evoprune.records.status import find, look

# by the name of the option, and of the extra that it needs
_TRACKERS = {
    "tensorboard": "TensorBoard, as event files in its folder tensorboard",
    "wandb": "Weights & Biases, or with WANDB_MODE=offline its folder wandb",
    "mlflow": "MLflow, to where MLFLOW_TRACKING_URI says",
}


def add_report(commands: Any) -> None:
    example = "python -m evoprune report runs/seed0 runs/seed1 runs/seed2 --out seeds.html"
    parser = add_command(commands, report, "write a page about runs or an ablation", example)
    told = "folders of runs, finished or not, a folder that contains such, or an ablation's"
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help=told)
    parser.add_argument("--out", type=Path, help="the page (default: report.html in the first folder)")
    parser.add_argument("--watch", action="store_true", help="write the page again and again until the runs end")
    told = "how often --watch writes (default: %(default)g)"
    parser.add_argument("--every", type=float, default=10.0, metavar="SECONDS", help=told)
    for name, what in _TRACKERS.items():
        told = f"hand each run's history to {what}, too; pip install 'evoprune[{name}]'"
        parser.add_argument(f"--{name}", action="store_true", help=told)


def report(options: argparse.Namespace) -> None:
    """Write one page about a run, about several side by side, or about an ablation."""
    # these bring in matplotlib, which --help should not wait for
    from evoprune.report import watch, write
    from evoprune.report.reading import so_far
    from evoprune.report.trackers import TRACKERS, read_record

    def has_scored(run: Path) -> bool:
        if not ((run / RESULT).exists() or (options.watch and look(run).is_running)):
            so_far(run)  # an error where nothing is scored
        return True

    if not 0 < options.every < float("inf"):
        raise InputError(f"expected a number of seconds above 0, got {options.every:g}", "--every")
    out = options.out or options.runs[0] / "report.html"
    runs: list[Path] = []
    for folder in options.runs:
        runs += [folder] if is_campaign(folder) else runs_in([folder], has_scored, "has scored anything yet")
    if options.watch:
        print(f"{out}: written every {options.every:g} s while the runs continue", flush=True)
        html, markdown = watch(runs, out, options.every)
    else:
        html, markdown = write(runs, out)
    print(f"{html}\n{markdown}")
    for name in (name for name in _TRACKERS if getattr(options, name)):
        for run in (member for folder in runs for member in find(folder)):
            print(TRACKERS[name](read_record(run)))
