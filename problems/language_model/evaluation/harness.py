"""Tasks of lm-evaluation-harness (Gao et al., 2021): settings, and the metrics of a model at them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from numbers import Real
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator
from tqdm import tqdm

from evoprune import InputError, Settings
from evoprune.plugins import note

if TYPE_CHECKING:
    import torch

MISSING = "needs lm-evaluation-harness; pip install 'evoprune[lm_eval]'"


class TaskSettings(Settings):
    """Tasks by name, and how many of their examples are used."""

    tasks: str | None = Field(
        None, description="names of lm-evaluation-harness tasks, separated by commas; pip install 'evoprune[lm_eval]'"
    )
    include_path: str | None = Field(None, description="a folder with task files of your own")
    limit: int | None = Field(None, ge=1, description="examples of each task (default: all)")

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.tasks is None and (self.limit, self.include_path) != (None, None):
            raise ValueError("limit and include_path say how tasks are run; name the tasks, too")
        return self

    @property
    def names(self) -> list[str]:
        """The names in ``tasks``."""
        return [name.strip() for name in (self.tasks or "").split(",") if name.strip()]


def _task_manager(settings: TaskSettings, source: str) -> Any:
    """Return the harness's index of tasks: of ``include_path`` alone if it has all, as the whole index takes long.

    Raises :class:`evoprune.InputError`, of ``source``, for an unknown task.
    """
    if find_spec("lm_eval") is None:
        raise InputError(MISSING, source)
    with _as_input_error(source):
        manager = _index(settings.include_path, False) if settings.include_path else None
        if not manager or _unknown(settings, manager):
            note("reading the task files of lm-evaluation-harness")
            manager = _index(settings.include_path, True)
    if unknown := _unknown(settings, manager):
        raise InputError(f"lm-evaluation-harness has no {', '.join(unknown)}; see 'lm_eval ls tasks'", source)
    return manager


@cache
def _index(include_path: str | None, defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path, include_defaults=defaults)


def _unknown(settings: TaskSettings, manager: Any) -> list[str]:
    return [name for name in settings.names if name not in manager.all_tasks]


def run_tasks(
    model: torch.nn.Module, tokenizer: Any, settings: TaskSettings, begin: bool, source: str
) -> dict[str, float]:
    """Return the metrics of all tasks by ``task metric``, in the harness's order.

    ``begin``: add the BOS token before each text. ``source``: the option of the tasks, for errors.
    """
    from evoprune.problems.language_model.models.blocks import attentions_numbered

    manager = _task_manager(settings, source)
    with _as_input_error(source), _quiet(), attentions_numbered(model):  # tasks that generate use a cache
        import lm_eval
        from lm_eval.models.huggingface import HFLM

        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, add_bos_token=begin)
        measured = lm_eval.simple_evaluate(
            harness, tasks=settings.names, task_manager=manager, limit=settings.limit,
            bootstrap_iters=0, log_samples=False,
        )  # fmt: skip
    return {
        f"{task} {metric.removesuffix(',none')}": float(value)
        for task, metrics in measured["results"].items()
        for metric, value in metrics.items()
        if isinstance(value, Real) and "stderr" not in metric and metric != "sample_len"
    }


@contextmanager
def _as_input_error(source: str) -> Iterator[None]:
    """Convert the errors of task files, data sets and the harness, which are of many classes."""
    try:
        yield
    except Exception as error:
        raise InputError(f"lm-evaluation-harness: {type(error).__name__}: {error}", source) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the harness's progress bars, which would break our lines of progress, and its log except errors."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    shown = tqdm.__init__

    def hidden(self: Any, *arguments: Any, **options: Any) -> None:
        shown(self, *arguments, **options | {"disable": True})

    tqdm.__init__ = hidden
    try:
        yield
    finally:
        tqdm.__init__ = shown
