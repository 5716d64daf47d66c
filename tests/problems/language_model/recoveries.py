"""Short recoveries of the run ``smaller_run``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evoprune.api import Run
from evoprune.problems.language_model.distillation.recover import Recovered, recover
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.teacher import recovery_text
from evoprune.problems.language_model.distillation.training import Training
from evoprune.problems.language_model.results.final_model import FinalModel

RECOVER = {"tokens": 1024, "batch": 4, "held_out": 4, "evaluations": 4, "rate": 0.001}
"""Eight steps of four windows of 32 tokens."""

_WORDS = [word for key, value in RECOVER.items() for word in (f"--{key.replace('_', '-')}", str(value))]
OPTIONS = ["--untimed", *_WORDS]


def recovered(run: Path, place: Path, alike: Sequence[str] = (), **settings: Any) -> Recovered:
    """As the command ``recover``, but for the export."""
    opened = Run.open(run)
    problem: Any = opened.problem
    final = FinalModel(problem.session, opened.best.genome)
    return recover_with(final, place, alike=",".join(alike) or None, known=problem.references(), **settings)


def recover_with(final: FinalModel, place: Path, known: Any = None, **settings: Any) -> Recovered:
    """Recover ``final`` with :data:`RECOVER` and other ``settings``."""
    asked, session = RecoverSettings(**RECOVER | settings), final.session
    text = recovery_text(asked, session)
    return recover(final, known or {}, asked, text, place)


def stop_at_step_5(patch: pytest.MonkeyPatch, error: BaseException | type[BaseException]) -> None:
    """Let a training end with ``error`` after the checkpoint of step 4."""
    step = Training._step

    def ended(training: Training, number: int, rate: float) -> Any:
        if number == 5:
            raise error
        return step(training, number, rate)

    patch.setattr(Training, "_step", ended)


def facts(folder: Path) -> Any:
    """Read ``evoprune.json``."""
    return json.loads((folder / "evoprune.json").read_text())
