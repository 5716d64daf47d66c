"""A run's history in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from evoprune.errors import InputError
from evoprune.report.trackers.record import Record, scalars

Item = TypeVar("Item")

EXPERIMENT = "evoprune"

_IDENT = "evoprune.run"
"""The tag that holds :attr:`Record.ident`."""

_METRICS, _PARAMETERS = 1000, 100
"""How many a call takes."""

_LONGEST = 6000
"""Characters of a parameter."""


def write(run: Record) -> str:
    """Log ``run`` to the server or file that MLFLOW_TRACKING_URI names. Written again, it replaces itself."""
    try:
        import mlflow

        return _logged(mlflow.MlflowClient(), run)
    except ImportError as error:
        raise InputError(f"needs MLflow: pip install 'evoprune[mlflow]' ({error})", "--mlflow") from None
    except mlflow.exceptions.MlflowException as error:
        raise InputError(str(error).splitlines()[0], "--mlflow") from None


def _logged(client: Any, run: Record) -> str:
    from mlflow.entities import Metric, Param

    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
    for old in client.search_runs([experiment], f"tags.`{_IDENT}` = '{run.ident}'"):
        client.delete_run(old.info.run_id)
    began = round(1000 * run.began)
    made = client.create_run(experiment, began, {_IDENT: run.ident}, run.folder.resolve().name)
    ident = made.info.run_id
    metrics = [
        Metric(tag, value, began + round(1000 * line["seconds"]), line["generation"])
        for line in run.generations
        for tag, value in scalars(line).items()
    ]
    end, last = (run.generations[-1][key] for key in ("seconds", "generation"))
    metrics += [Metric(f"result/{key}", value, began + round(1000 * end), last) for key, value in run.result.items()]
    for some in _portions(metrics, _METRICS):
        client.log_batch(ident, metrics=some)
    parameters = [Param(key, str(value)[:_LONGEST]) for key, value in run.config.items()]
    for few in _portions(parameters, _PARAMETERS):
        client.log_batch(ident, params=few)
    client.set_terminated(ident)
    return f"mlflow ui --backend-store-uri {client.tracking_uri}"


def _portions(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
