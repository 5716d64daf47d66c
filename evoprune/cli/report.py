"""The command ``report``."""

import argparse
from pathlib import Path
from typing import Any

from evoprune.cli.options import add_command
from evoprune.cli.run import runs_in
from evoprune.records.run_folder import RESULT

# by the name of the option, and of the extra that it needs
_TRACKERS = {
    "tensorboard": "TensorBoard, as event files in its folder tensorboard",
    "wandb": "Weights & Biases, or with WANDB_MODE=offline its folder wandb",
    "mlflow": "MLflow, to where MLFLOW_TRACKING_URI says",
}


def add_report(commands: Any) -> None:
    example = "python -m evoprune report runs/seed0 runs/seed1 runs/seed2 --out seeds.html"
    parser = add_command(commands, report, "write a page about runs", example)
    told = "folders of runs, finished or not, or folders that contain such, such as an ablation's"
    parser.add_argument("runs", metavar="RUN_DIR", nargs="+", type=Path, help=told)
    parser.add_argument("--out", type=Path, help="the page (default: report.html in the first folder)")
    for name, what in _TRACKERS.items():
        told = f"hand each run's history to {what}, too; pip install 'evoprune[{name}]'"
        parser.add_argument(f"--{name}", action="store_true", help=told)


def report(options: argparse.Namespace) -> None:
    """Write one page about a run, or about several side by side."""
    # these bring in matplotlib, which --help should not wait for
    from evoprune.report import write
    from evoprune.report.reading import so_far
    from evoprune.report.trackers import TRACKERS, read_record

    def has_scored(run: Path) -> bool:
        return (run / RESULT).exists() or bool(so_far(run))  # an error where nothing is scored

    runs = [run for folder in options.runs for run in runs_in([folder], has_scored, "has scored anything yet")]
    print(*write(runs, options.out or options.runs[0] / "report.html"), sep="\n")
    for name in (name for name in _TRACKERS if getattr(options, name)):
        for run in runs:
            print(TRACKERS[name](read_record(run)))
