"""Test functions of :mod:`deap.benchmarks`, whose optimum is known."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Self

from deap import benchmarks
from pydantic import Field, model_validator

from evoprune import Additive, Budget, Evaluation, Genes, Problem, Settings

OPTIMA = {"sphere": 0.0, "rastrigin": 0.0, "ackley": 0.0, "rosenbrock": 1.0}
"""Each function's best gene, the same for all genes; the value there is 0."""


class BenchmarkSettings(Settings):
    """Parameters of the benchmark problem."""

    function: Literal["sphere", "rastrigin", "ackley", "rosenbrock"] = Field("sphere", description="what to minimise")
    dimensions: int = Field(10, ge=1, description="genes")
    low: float = Field(-5.12, description="lower bound of every gene")
    up: float = Field(5.12, description="upper bound of every gene")
    mean: float | None = Field(None, description="the mean of the genes that a repair keeps; null: that of the optimum")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.up:
            raise ValueError(f"expected low <= up, got {self.low:g} and {self.up:g}")
        if self.mean is not None and not self.low <= self.mean <= self.up:
            raise ValueError(f"mean {self.mean:g} cannot be reached between low {self.low:g} and up {self.up:g}")
        return self


class Benchmark(Problem):
    """Minimise a test function of deap.benchmarks: sphere, rastrigin, ackley or rosenbrock."""

    Settings = BenchmarkSettings
    settings: BenchmarkSettings

    @cached_property
    def genes(self) -> Genes:
        return Genes.real(
            [f"x{place}" for place in range(self.settings.dimensions)], self.settings.low, self.settings.up
        )

    @cached_property
    def budget(self) -> Budget:
        """Keeps the mean of the genes at ``mean``, by default the optimum's within the bounds."""
        settings = self.settings
        nearest = min(max(OPTIMA[settings.function], settings.low), settings.up)
        mean = nearest if settings.mean is None else settings.mean
        return Additive.at_share(self.genes, [-1.0] * settings.dimensions, -mean)

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        return Evaluation(tuple(getattr(benchmarks, self.settings.function)(genome)))

    def references(self) -> dict[str, list[float]]:
        return {"optimum": [OPTIMA[self.settings.function]] * self.settings.dimensions}
