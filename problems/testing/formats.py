"""Checks the contract of an export format, for the tests of its author.

::

    def test_contract(tmp_path):
        run = Run.open("runs/small")
        check_format(Mine, run, tmp_path / "model.mine")
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evoprune.api import Run
from problems.evaluation.session import Session
from problems.export.format import ExportFormat, run_of
from problems.export.settings import ExportOptions
from problems.results.final_model import FinalModel


def check_format(kind: type[ExportFormat], run: Run, place: Path, options: ExportOptions | None = None) -> None:
    """Raise AssertionError unless the format ``kind`` keeps the contract of export formats.

    It writes the result of ``run``, a small one of a language model, beside ``place``: twice as it is, and with other
    weights, as a recovery gives them.
    """
    problem: Any = run.problem
    session: Session = problem.session
    options = options or ExportOptions(untimed=True)
    before = session.fitness.value(run.best.genome)
    final = FinalModel(session, run.best.genome)
    first, second = (_written(kind, final, run.result, place, name, options) for name in ("first", "second"))
    assert first == second, "the same model gives other bytes when it is written again"
    recovered = FinalModel(session, run.best.genome, _trained(session))
    other = _written(kind, recovered, run.result, place, "recovered", options)
    assert other != first, "recovered weights are ignored: write those of final.copy()"
    assert session.fitness.value(run.best.genome) == before, "the session scores otherwise afterwards"


def _written(
    kind: type[ExportFormat], final: FinalModel, result: Any, place: Path, name: str, options: ExportOptions
) -> list[bytes]:
    folder = place.parent / name
    folder.mkdir()
    made, format_ = folder / place.name, kind(final, options)
    format_.check()
    exported = format_.write(run_of(final, result), made)
    json.dumps(exported.facts, allow_nan=False)
    assert made.exists(), f"nothing is written to {made.name}"
    assert final.recovered or not exported.faults, f"the model as the run found it is unfit: {exported.faults}"
    files = [made] if made.is_file() else sorted(path for path in made.rglob("*") if path.suffix != ".md")
    return [path.read_bytes() for path in files if path.is_file()]


def _trained(session: Session) -> Mapping[str, torch.Tensor]:
    session.transform.apply(session.transform.dense)
    model = session.resident.model
    return {name: 1.25 * weight for name, weight in model.named_parameters() if weight.dim() == 1 and ".0." in name}
