"""A plugin for tests of the engine: problems whose evaluations take a while, leave a mark, and wait for each other."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from evoprune import Evaluation, Settings
from evoprune.backends.evaluation import worker_name
from evoprune.problems.benchmark import Benchmark, BenchmarkSettings
from evoprune.problems.language_model.problem import Pruning
from evoprune.problems.language_model.settings import PruningSettings
from tests.runs import draw_nothing

draw_nothing()


class Patience(Settings):
    """What is asked of an evaluation besides its score."""

    log: str = Field("", description="a file that gets two lines for each evaluation, see Mark")
    seconds: float = Field(0.0, ge=0, description="how long it sleeps")
    slow_above: float = Field(1e9, description="a first gene above this makes it slower")
    slowness: float = Field(10.0, ge=0, description="by how much")
    meet: int = Field(1, ge=1, description="processes that must have begun an evaluation before any ends one")


class Mark(NamedTuple):
    """What an evaluation leaves when it begins and, with ``over``, when it ends."""

    genome: list[float]
    worker: str
    over: bool


def marks(log: Path) -> list[Mark]:
    """The marks in ``log``; one that was cut short is left out."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [Mark(*json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]


class _Patient:
    """Put before a problem's class, makes its evaluations patient."""

    settings: Any

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        settings = self.settings
        self._mark(genome, over=False)
        while settings.meet > 1 and len({mark.worker for mark in marks(Path(settings.log))}) < settings.meet:
            time.sleep(0.05)
        time.sleep(settings.seconds * (settings.slowness if genome[0] > settings.slow_above else 1.0))
        evaluation: Evaluation = super().evaluate(genome, fidelity)  # type: ignore[misc]
        self._mark(genome, over=True)
        return evaluation

    def _mark(self, genome: Sequence[float], over: bool) -> None:
        if self.settings.log:
            line = json.dumps(Mark(list(genome), worker_name(), over)) + "\n"
            with Path(self.settings.log).open("ab", buffering=0) as log:  # one write a line: processes share the file
                log.write(line.encode())


class PatientBenchmarkSettings(Patience, BenchmarkSettings):
    """Those of both."""


class PatientBenchmark(_Patient, Benchmark):
    """A test function of deap.benchmarks, slowly."""

    Settings = PatientBenchmarkSettings

    def references(self) -> dict[str, list[float]]:
        """Two, so that the processes of a host or two can meet over them."""
        return super().references() | {"corner": list(self.genes.up)}


class PatientPruningSettings(Patience, PruningSettings):
    """Those of both."""


class PatientPruning(_Patient, Pruning):
    """The pruning problem, slowly."""

    Settings = PatientPruningSettings
