"""A run whose result is recovered, and what tests of that share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evoprune.cli import main
from problems.language_model.recovery.train import Training
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


def facts(folder: Path) -> Any:
    return json.loads((folder / "evoprune.json").read_text())


def ends_at_step_5(patch: pytest.MonkeyPatch, error: BaseException | type[BaseException]) -> None:
    """A training ends with ``error``, after the checkpoint of step 4."""
    step = Training._step

    def ended(training: Training, number: int) -> Any:
        if number == 5:
            raise error
        return step(training, number)

    patch.setattr(Training, "_step", ended)
