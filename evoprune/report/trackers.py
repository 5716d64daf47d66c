"""Writes a run's history to TensorBoard, Weights & Biases or MLflow. A step is a generation."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from evoprune.console.errors import InputError, first_line
from evoprune.console.formatting import flat
from evoprune.interfaces.result import Result
from evoprune.records import recorded
from evoprune.records.history import is_generation
from evoprune.records.recorded import read_experiment
from evoprune.records.run_folder import HISTORY, RESULT

NAME = "evoprune"  # of the experiment in MLflow, and of the project in W&B unless WANDB_PROJECT names another
_RUN_TAG = "evoprune.run"
_METRICS_PER_CALL, _PARAMETERS_PER_CALL, _LONGEST_PARAMETER = 1000, 100, 6000


class Record(NamedTuple):
    """The present state of a run, with a unique ``ident``.

    ``config``: the experiment, by dotted key. ``generations``: lines of the history. ``result``: numbers in
    ``result.json``, by dotted key. ``began``: the start of the search, in seconds since 1970.
    """

    folder: Path
    config: Mapping[str, Any]
    generations: list[dict[str, Any]]
    result: Mapping[str, float]
    began: float

    @property
    def ident(self) -> str:
        return hashlib.sha256(f"{self.folder.resolve()} {self.config}".encode()).hexdigest()[:16]


def read_record(folder: Path) -> Record:
    """Read the run in ``folder``. Raises InputError before its first generation is complete."""
    lines = [line for line in recorded.lines(folder / HISTORY) if is_generation(line)]
    if not lines:
        raise InputError("no generation is complete; there is nothing to write", str(folder))
    began = (folder / HISTORY).stat().st_mtime - lines[-1]["seconds"]
    result = recorded.read_result(folder, Result).as_json() if (folder / RESULT).exists() else {}
    numbers = {k: v for k, v in flat(result).items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return Record(folder, flat(read_experiment(folder).config()), lines, numbers, began)


def write_tensorboard(run: Record) -> str:
    """Write event files into the run's folder ``tensorboard``, replacing earlier ones; return a command to see them."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise InputError("needs TensorBoard: pip install 'evoprune[tensorboard]'", "--tensorboard") from None
    out = run.folder / "tensorboard"
    for old in out.glob("events.out.tfevents.*"):
        old.unlink()
    writer = EventFileWriter(str(out))
    for line in run.generations:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(line)])
        writer.add_event(Event(wall_time=run.began + line["seconds"], step=line["generation"], summary=summary))
    writer.close()
    return f"tensorboard --logdir {out}"


def write_wandb(run: Record) -> str:
    """Log ``run`` online or, as WANDB_MODE says, into its folder ``wandb``; return its address. Again, it continues."""
    try:
        import wandb
    except ImportError:
        raise InputError("needs W&B: pip install 'evoprune[wandb]'", "--wandb") from None
    settings = wandb.Settings(silent=True, console="off")
    project = os.environ.get("WANDB_PROJECT", NAME)
    try:
        logged = wandb.init(
            project=project, name=run.folder.resolve().name, id=run.ident, resume="allow", dir=str(run.folder),
            config=dict(run.config), settings=settings,
        )  # fmt: skip
    except wandb.errors.Error as error:
        reason = first_line(error)
        raise InputError(f"{reason}; run `wandb login`, or set WANDB_MODE=offline", "--wandb") from None
    for line in run.generations:
        logged.log(dict(_scalars(line)), step=line["generation"])
    logged.summary.update(dict(run.result))
    place = f"wandb sync {Path(logged.dir).parent}" if logged.offline else str(logged.url)
    logged.finish()
    wandb.teardown()  # ends its processes
    return place


def write_mlflow(run: Record) -> str:
    """Log ``run``, again if it is there, to the place of MLFLOW_TRACKING_URI; return a command to see it."""
    try:
        import mlflow

        return _log_to_mlflow(mlflow.MlflowClient(), run)
    except ImportError as error:
        raise InputError(f"needs MLflow: pip install 'evoprune[mlflow]' ({error})", "--mlflow") from None
    except mlflow.exceptions.MlflowException as error:
        raise InputError(first_line(error), "--mlflow") from None


def _log_to_mlflow(client: Any, run: Record) -> str:
    from mlflow.entities import Metric, Param

    there = client.get_experiment_by_name(NAME)
    experiment = there.experiment_id if there else client.create_experiment(NAME)
    for old in client.search_runs([experiment], f"tags.`{_RUN_TAG}` = '{run.ident}'"):
        client.delete_run(old.info.run_id)
    began = round(1000 * run.began)
    ident = client.create_run(experiment, began, {_RUN_TAG: run.ident}, run.folder.resolve().name).info.run_id
    metrics = [
        Metric(tag, value, began + round(1000 * line["seconds"]), line["generation"])
        for line in run.generations
        for tag, value in _scalars(line)
    ]
    last = run.generations[-1]
    end = began + round(1000 * last["seconds"]), last["generation"]
    metrics += [Metric(f"result/{key}", value, *end) for key, value in run.result.items()]
    for at in range(0, len(metrics), _METRICS_PER_CALL):
        client.log_batch(ident, metrics=metrics[at : at + _METRICS_PER_CALL])
    parameters = [Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in run.config.items()]
    for at in range(0, len(parameters), _PARAMETERS_PER_CALL):
        client.log_batch(ident, params=parameters[at : at + _PARAMETERS_PER_CALL])
    client.set_terminated(ident)
    return f"mlflow ui --backend-store-uri {client.tracking_uri}"


TRACKERS: Mapping[str, Callable[[Record], str]] = {
    "tensorboard": write_tensorboard,
    "wandb": write_wandb,
    "mlflow": write_mlflow,
}
"""By the name of the option, which is that of the extra too."""


def _scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Tags and finite numbers of a generation's ``line``."""
    low, high = line.get("quartiles") or (None, None)
    values = {f"fitness/{name}": line.get(name) for name in ("best", "median", "worst")}
    values |= {"fitness/lower quartile": low, "fitness/upper quartile": high}
    values |= {f"search/{name}": line.get(name) for name in ("evaluations", "work", "idle")}
    yield from ((tag, float(value)) for tag, value in values.items() if isinstance(value, (int, float)))
