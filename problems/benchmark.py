"""Problems whose optimum is known, for comparing searches: test functions of :mod:`deap.benchmarks`, and a knapsack."""

import random
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, Self

import numpy
from deap import benchmarks
from pydantic import Field, model_validator

from evoprune import Additive, Budget, Evaluation, Gene, Genes, Problem, Settings
from evoprune.operators.knapsack import cheapest

OPTIMA = {"sphere": 0.0, "rastrigin": 0.0, "ackley": 0.0, "rosenbrock": 1.0}
"""Each function's best gene, the same for all genes; the value there is 0."""


class BenchmarkSettings(Settings):
    """Parameters of the benchmark problem."""

    function: Literal["sphere", "rastrigin", "ackley", "rosenbrock"] = Field("sphere", description="test function")
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
        names = [f"x{place}" for place in range(self.settings.dimensions)]
        return Genes.real(names, self.settings.low, self.settings.up)

    @cached_property
    def budget(self) -> Budget:
        """Keeps the mean of the genes at ``mean``, by default the optimum's within the bounds."""
        settings = self.settings
        nearest = min(max(OPTIMA[settings.function], settings.low), settings.up)
        mean = nearest if settings.mean is None else settings.mean
        return Additive(self.genes, [-1.0] * settings.dimensions, -mean * settings.dimensions)

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        return Evaluation(tuple(getattr(benchmarks, self.settings.function)(genome)))

    def references(self) -> dict[str, list[float]]:
        return {"optimum": [OPTIMA[self.settings.function]] * self.settings.dimensions}


class KnapsackSettings(Settings):
    """Parameters of the knapsack problem."""

    items: int = Field(50, ge=1, le=1000, description="number of items, a gene for each")
    copies: int = Field(1, ge=1, le=100, description="largest number of copies of an item")
    capacity: float = Field(0.5, gt=0, lt=1, description="share of the weight of all copies that may be packed")
    draw: int = Field(0, ge=0, description="seed of the values and weights")


class Knapsack(Problem):
    """Pack items for the most value, within a capacity (Kellerer, Pferschy and Pisinger, "Knapsack Problems", 2004).

    A gene's level is the number of copies packed. Weights are drawn from 1 to 100; values differ from them by up to 10.
    """

    Settings = KnapsackSettings
    signs = (1.0,)
    settings: KnapsackSettings

    def __init__(self, settings: KnapsackSettings) -> None:
        super().__init__(settings)
        rng = random.Random(settings.draw)
        self._counts = numpy.arange(settings.copies + 1)
        self.item_weights = [rng.randint(1, 100) for _ in range(settings.items)]
        self.item_values = [max(1, weight + rng.randint(-10, 10)) for weight in self.item_weights]
        self.capacity = int(settings.capacity * settings.copies * sum(self.item_weights))

    @cached_property
    def genes(self) -> Genes:
        return Genes([Gene.of_levels(f"item {place}", self._counts.tolist()) for place in range(self.settings.items)])

    @cached_property
    def budget(self) -> Budget:
        tables = [(float(weight) * self._counts).tolist() for weight in self.item_weights]
        return Additive(self.genes, tables, self.capacity, "units of weight")

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        """The value of the packed items, minus 11 for each unit of weight above the capacity, which never gains."""
        value, weight = (
            sum(count * amount for count, amount in zip(genome, amounts, strict=True))
            for amounts in (self.item_values, self.item_weights)
        )
        return Evaluation((float(value - 11 * max(0, weight - self.capacity)),), measures={"weight": weight})

    def references(self) -> dict[str, list[float]]:
        """The optimum, by dynamic programming."""
        losses = [numpy.array(-value * self._counts, float) for value in self.item_values]
        optimum = cheapest(losses, [weight * self._counts for weight in self.item_weights], self.capacity)
        return {"optimum": [float(count) for count in optimum]}

    def describe(self) -> str:
        settings = self.settings
        return f"{settings.items} items, {settings.copies} of each at most, capacity {self.capacity}"

    @classmethod
    def labels_of(cls, settings: KnapsackSettings) -> tuple[str, ...]:  # noqa: ARG003 - the same for all
        return ("value",)
