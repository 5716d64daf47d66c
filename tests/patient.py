"""A plugin for tests of the engine: problems whose evaluations take a while, leave a mark, and wait for each other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from evoprune import Evaluation, Settings
from evoprune.evaluation import worker_name
from problems.benchmark.problem import Benchmark, BenchmarkSettings
from problems.pruning.problem import Pruning
from problems.pruning.settings import PruningSettings


class Patience(Settings):
    """What is asked of an evaluation besides its score."""

    log: str = Field("", description="a file that gets a line for each evaluation, its genome and process")
    seconds: float = Field(0.0, ge=0, description="how long it sleeps")
    slow_above: float = Field(1e9, description="a first gene above this makes it sleep ten times as long")
    meet: int = Field(1, ge=1, description="processes that must have begun an evaluation before any ends one")


def marks(log: Path) -> Iterator[tuple[list[float], str]]:
    """Genome and process of each evaluation that ``log`` holds; the end of one that was cut short is left out."""
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return (tuple(json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n"))


class _Patient:
    """Put before a problem's class, makes its evaluations patient."""

    settings: Any

    def evaluate(self, genome: Sequence[float]) -> Evaluation:
        settings = self.settings
        if settings.log:
            with open(settings.log, "ab", buffering=0) as log:  # one write a line: processes share the file
                log.write((json.dumps([list(genome), worker_name()]) + "\n").encode())
        while settings.meet > 1 and len({worker for _, worker in marks(Path(settings.log))}) < settings.meet:
            time.sleep(0.05)
        time.sleep(settings.seconds * (10 if genome[0] > settings.slow_above else 1))
        evaluation: Evaluation = super().evaluate(genome)  # type: ignore[misc]
        return evaluation


class PatientBenchmarkSettings(Patience, BenchmarkSettings):
    """Those of both."""


class PatientBenchmark(_Patient, Benchmark):
    """A test function of deap.benchmarks, slowly."""

    Settings = PatientBenchmarkSettings

    def references(self) -> dict[str, list[float]]:
        """Two, so that the processes of a host or two can meet over them."""
        return super().references() | {"corner": list(self.bounds().up)}


class PatientPruningSettings(Patience, PruningSettings):
    """Those of both."""


class PatientPruning(_Patient, Pruning):
    """The pruning problem, slowly."""

    Settings = PatientPruningSettings
