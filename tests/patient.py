"""A plugin for tests of the engine: a problem whose evaluations wait until several processes have begun one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from evoprune import Evaluation
from evoprune.backends.evaluation import worker_name
from evoprune.problems.benchmark import Benchmark, BenchmarkSettings
from tests.runs import draw_nothing

draw_nothing()


class PatientSettings(BenchmarkSettings):
    """Those of a test function, and processes that meet."""

    log: str = Field("", description="a file that gets the worker of each evaluation as a line")
    meet: int = Field(1, ge=1, description="processes that must have begun an evaluation before any ends one")


class PatientBenchmark(Benchmark):
    """A test function of deap.benchmarks, for processes that meet."""

    Settings = PatientSettings

    def references(self) -> dict[str, list[float]]:
        """Two, so that the processes of a host or two can meet over them."""
        return super().references() | {"corner": list(self.genes.up)}

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        log, meet = Path(self.settings.log), self.settings.meet
        if meet > 1:
            with log.open("ab", buffering=0) as lines:  # one write a line: processes share the file
                lines.write(f"{worker_name()}\n".encode())
            while len({*log.read_text().split()}) < meet:
                time.sleep(0.05)
        return super().evaluate(genome, fidelity)
