"""The status of a run, read from its folder during the run or afterwards; nothing is changed there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from evoprune.errors import InputError
from evoprune.experiment import config
from evoprune.experiment.explain import explain
from evoprune.files.json_files import read_json
from evoprune.records import recorded
from evoprune.records.history import Line, is_generation
from evoprune.records.run_folder import CONFIG, HISTORY, LOCK, PROMISED, RESULT, STATUS, is_locked, was_begun

RUNNING, KILLED, STARTING = "running", "killed", "starting"


Model = TypeVar("Model", bound=BaseModel)


class _Stated(BaseModel, extra="ignore"):
    """What is used of ``status.json``."""

    state: str
    reason: str | None = None
    phase: str | None = None
    seconds_left: float | None = None


class _Asked(BaseModel, extra="ignore"):
    """What is used of ``config.yaml``."""

    generations: int = Field(ge=0)
    budget: float | None = Field(None, gt=0)


@dataclass(frozen=True)
class Status:
    """How far a run has come.

    ``state`` is that of ``status.json``, but ``killed`` where it says running and no process
    holds the folder, and ``starting`` or ``empty`` where nothing is written yet. ``best`` is
    that after the last whole generation, None where there are several objectives. ``phase`` is what a running one
    does, ``rate`` is work a second, and ``seconds_left`` an estimate, of the search or, before it, of the phase; they
    are None where nothing is known or nothing runs. ``promised``: an export of its result is left to do, and
    no process does it.
    """

    folder: Path
    state: str
    reason: str | None = None
    generation: int | None = None
    generations: int = 0
    evaluations: int = 0
    work: float = 0.0
    budget: float | None = None
    best: float | None = None
    phase: str | None = None
    rate: float | None = None
    seconds_left: float | None = None
    promised: bool = False

    @property
    def is_running(self) -> bool:
        """Whether a process is running it."""
        return self.state in {RUNNING, STARTING}

    @property
    def resumable(self) -> bool:
        """Whether ``evoprune resume`` would continue it, or do what is left after it."""
        return self.state in {KILLED, "stopped", "interrupted", "failed"} or self.promised


def find(folder: Path) -> list[Path]:
    """The runs in ``folder``: itself, or those at any depth below it, as an ablation keeps them.

    Raises :class:`InputError` where there is none.
    """
    if was_begun(folder):
        return [folder]
    found = sorted(path.parent for name in (LOCK, STATUS) for path in folder.rglob(name))
    if not found:
        raise InputError(
            "is not the folder of a run and contains none; expected RUN_DIR or a folder of runs", str(folder)
        )
    return list(dict.fromkeys(found))


def look(folder: Path) -> Status:
    """The status of the run in ``folder``. Raises :class:`InputError` for what no run has written."""
    held = is_locked(folder)
    if not (folder / STATUS).exists():
        return Status(folder, STARTING) if held else Status(folder, "empty", "it ended before it began")
    stated = _checked(_Stated, read_json(folder / STATUS), folder / STATUS)
    state, promised = stated.state, (folder / PROMISED).exists()
    exporting = held and promised and state == "done"
    if held != (state == RUNNING) and not exporting:
        state = STARTING if held else KILLED
    if not (folder / CONFIG).exists():
        return Status(folder, state, stated.reason)
    asked = _checked(_Asked, config.read(folder / CONFIG), folder / CONFIG)
    left_to_do = promised and not held
    begun = Status(folder, state, stated.reason, None, asked.generations, budget=asked.budget, promised=left_to_do)
    status = _with_history(begun)
    if state != RUNNING:
        return status
    left = stated.seconds_left if status.seconds_left is None else status.seconds_left
    return replace(status, phase=stated.phase, seconds_left=left)


def without_result(folder: Path) -> str:
    """Why the run in ``folder`` has no result, and what gives it one. Raises as :func:`look`."""
    status = look(folder)
    after = "" if status.generation is None else f" after generation {status.generation}"
    if status.is_running:
        return f"is still running{after}; it has a result when it is done"
    if status.resumable:
        return f"{status.state}{after}; finish it with `python -m evoprune resume {shlex.quote(str(folder))}`"
    return f"has no {RESULT}, and its state is {status.state}; run the experiment again"


def _checked(kind: type[Model], value: dict[str, Any], path: Path) -> Model:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InputError(explain(error, kind), str(path)) from None


def _with_history(status: Status) -> Status:
    """``status`` with what the history says."""
    lines = list(recorded.lines(status.folder / HISTORY))
    scores = [line for line in lines if "candidate" in line and not line["memo"]]
    searched = _work(scores)
    generations = [line for line in lines if is_generation(line)]
    if not generations:
        return replace(status, evaluations=len(scores), work=searched)
    last = generations[-1]
    whole = [score for score in scores if score["generation"] <= last["generation"]]
    setup_cost = (recorded.number(last.get("work")) or 0.0) - _work(whole)
    judged = _work([line for line in lines if "finalist" in line])
    traded = any(len(score["fitness"]) > 1 for score in scores)  # the best by one objective is not the result then
    status = replace(
        status,
        generation=last["generation"],
        evaluations=len(scores),
        work=setup_cost + searched + judged,
        best=None if traded else recorded.number(last.get("best")),
    )
    seconds = len(scores) * (last["seconds"] / max(1, len(whole)))
    if not status.is_running or not seconds:
        return status
    size = sum(score["generation"] == last["generation"] for score in scores)
    to_come = max(0, size * (status.generations - last["generation"]) - (len(scores) - len(whole)))
    budget = status.budget and status.budget - setup_cost
    left = time_left(seconds, len(scores), searched, to_come, budget)
    return replace(status, rate=searched / seconds, seconds_left=left)


def _work(lines: Sequence[Line]) -> float:
    total: float = sum(line["work"] for line in lines)
    return total


def time_left(seconds: float, evaluations: int, work: float, to_come: int, budget: float | None) -> float:
    """Seconds until ``to_come`` more evaluations are done or ``budget`` of work is spent, at the pace so far."""
    left = seconds / max(1, evaluations) * to_come
    return min(left, seconds * max(0.0, budget / max(1.0, work) - 1)) if budget else left
