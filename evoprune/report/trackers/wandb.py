"""A run's history in Weights & Biases."""

from __future__ import annotations

import os
from pathlib import Path

from evoprune.errors import InputError
from evoprune.report.trackers.record import Record, scalars

PROJECT = "evoprune"
"""Unless WANDB_PROJECT names another."""


def write(run: Record) -> str:
    """Log ``run``, online or, where WANDB_MODE says so, into its folder ``wandb``. Written again, it is continued."""
    try:
        import wandb
    except ImportError:
        raise InputError("needs W&B: pip install 'evoprune[wandb]'", "--wandb") from None
    settings = wandb.Settings(silent=True, console="off")
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    try:
        logged = wandb.init(
            project=project, name=run.folder.resolve().name, id=run.ident, resume="allow", dir=str(run.folder),
            config=dict(run.config), settings=settings,
        )  # fmt: skip
    except wandb.errors.Error as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{reason}; run `wandb login`, or set WANDB_MODE=offline", "--wandb") from None
    for line in run.generations:
        logged.log(scalars(line), step=line["generation"])
    logged.summary.update(dict(run.result))
    place = f"wandb sync {Path(logged.dir).parent}" if logged.offline else str(logged.url)
    logged.finish()
    wandb.teardown()  # which ends its processes, and forgets what the environment said
    return place
