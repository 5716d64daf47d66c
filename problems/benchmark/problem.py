"""The classic test functions of :mod:`deap.benchmarks` as a problem."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from deap import benchmarks
from pydantic import Field, model_validator

from evoprune import Bounds, Evaluation, Problem, Settings

OPTIMA = {"sphere": 0.0, "rastrigin": 0.0, "ackley": 0.0, "rosenbrock": 1.0}
"""Each function's best gene, the same for all genes; the value there is 0."""


class BenchmarkSettings(Settings):
    """Parameters of the benchmark problem."""

    function: Literal["sphere", "rastrigin", "ackley", "rosenbrock"] = Field("sphere", description="what to minimise")
    dimensions: int = Field(10, ge=1, description="genes")
    low: float = Field(-5.12, description="lower bound of every gene")
    up: float = Field(5.12, description="upper bound of every gene")
    mean: float | None = Field(None, description="what a repair keeps the genes' mean at; null: at the optimum's")

    @model_validator(mode="after")
    def _ordered(self) -> BenchmarkSettings:
        if self.low > self.up:
            raise ValueError(f"expected low <= up, got {self.low:g} and {self.up:g}")
        if self.mean is not None and not self.low <= self.mean <= self.up:
            raise ValueError(f"mean {self.mean:g} cannot be reached between low {self.low:g} and up {self.up:g}")
        return self


class Benchmark(Problem):
    """Minimise a test function of deap.benchmarks: sphere, rastrigin, ackley or rosenbrock."""

    Settings = BenchmarkSettings
    supplies = frozenset({"weights", "target"})
    settings: BenchmarkSettings

    def bounds(self) -> Bounds:
        """``[low, up]`` for every gene."""
        count = self.settings.dimensions
        return Bounds([self.settings.low] * count, [self.settings.up] * count)

    def context(self) -> dict[str, Any]:
        """For a repair: equal weights, and ``mean`` as target: by default the optimum's, within the bounds."""
        settings = self.settings
        nearest = min(max(OPTIMA[settings.function], settings.low), settings.up)
        return {"weights": [1.0] * settings.dimensions, "target": nearest if settings.mean is None else settings.mean}

    def random_genome(self) -> list[float]:
        """Uniform within the bounds."""
        return [random.uniform(self.settings.low, self.settings.up) for _ in range(self.settings.dimensions)]

    def evaluate(self, genome: Sequence[float]) -> Evaluation:
        """The function's value at ``genome``."""
        return Evaluation(tuple(getattr(benchmarks, self.settings.function)(genome)))

    def references(self) -> dict[str, list[float]]:
        """The optimum."""
        return {"optimum": [OPTIMA[self.settings.function]] * self.settings.dimensions}
