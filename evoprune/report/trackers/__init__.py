"""Hand a run's history to tools that people track experiments with: a module for each."""

from collections.abc import Mapping

from evoprune.report.trackers import mlflow, tensorboard, wandb
from evoprune.report.trackers.record import Tracker

TRACKERS: Mapping[str, Tracker] = {"tensorboard": tensorboard.write, "wandb": wandb.write, "mlflow": mlflow.write}
"""By the name of the option that asks for it, which is also that of the extra that it needs."""

__all__ = ["TRACKERS"]
