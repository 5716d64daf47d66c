"""A run whose result is recovered, and what tests of that share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evoprune.api import Run
from evoprune.cli import main
from problems.distillation.recover import Recovered, recover
from problems.distillation.settings import RecoverSettings
from problems.distillation.text import recovery_text
from problems.distillation.training import Training
from problems.language_model.problem import LanguageModel
from problems.results.final_model import FinalModel
from tests.problems.small import problem_in

QUICK = ["--tokens", "1024", "--batch", "4", "--held-out", "4", "--evaluations", "4", "--rate", "0.001"]
"""Eight steps of four windows of 32 tokens."""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three blocks two are left, or parts of them, so that transformers alone cannot load the result."""
    home = tmp_path_factory.mktemp("sublayers")
    problem = problem_in(home) | {
        "use": "language_model", "transforms": "sublayers", "budget": {"use": "parameters", "removed": 0.3},
    }  # fmt: skip
    spec = {"problem": problem, "population": 4, "generations": 1, "operators": {"repair": "shift"}}
    (home / "experiment.yaml").write_text(json.dumps(spec))
    assert main(["run", str(home / "experiment.yaml"), "--runs-dir", str(home), "--name", "run"]) == 0
    return home / "run"


def recovered(run: Path, folder: Path, alike: Sequence[str] = (), **settings: Any) -> Recovered:
    """As the command with :data:`QUICK` and other ``settings``, but for the export."""
    opened = Run.open(run)
    problem = opened.problem
    assert isinstance(problem, LanguageModel)
    session, quick = problem.session, {"tokens": 1024, "batch": 4, "held_out": 4, "evaluations": 4, "rate": 0.001}
    asked = RecoverSettings(**quick | settings, alike=",".join(alike) or None)
    text = recovery_text(asked, session.resident, session.texts.search, session.texts.report.settings)
    return recover(FinalModel(session, opened.best.genome), problem.references(), asked, text, folder)


def facts(folder: Path) -> Any:
    return json.loads((folder / "evoprune.json").read_text())


def ends_at_step_5(patch: pytest.MonkeyPatch, error: BaseException | type[BaseException]) -> None:
    """A training ends with ``error``, after the checkpoint of step 4."""
    step = Training._step

    def ended(training: Training, number: int, rate: float) -> Any:
        if number == 5:
            raise error
        return step(training, number, rate)

    patch.setattr(Training, "_step", ended)
