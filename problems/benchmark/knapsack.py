"""A knapsack problem, whose optimum is known."""

import random
from collections.abc import Sequence
from functools import cached_property

import numpy
from pydantic import Field

from evoprune import Additive, Budget, Evaluation, Gene, Genes, Problem, Settings
from evoprune.operators.knapsack import cheapest


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
        self.item_weights = [rng.randint(1, 100) for _ in range(settings.items)]
        self.item_values = [max(1, weight + rng.randint(-10, 10)) for weight in self.item_weights]
        self.capacity = int(settings.capacity * settings.copies * sum(self.item_weights))

    @cached_property
    def genes(self) -> Genes:
        counts = range(self.settings.copies + 1)
        return Genes([Gene.of_levels(f"item {place}", counts) for place in range(self.settings.items)])

    @cached_property
    def budget(self) -> Budget:
        counts = range(self.settings.copies + 1)
        tables = [[float(weight * count) for count in counts] for weight in self.item_weights]
        return Additive(self.genes, tables, self.capacity, "units of weight")

    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        """The value of the packed items, minus 11 for each unit of weight above the capacity, which never gains."""
        value = sum(count * each for count, each in zip(genome, self.item_values, strict=True))
        weight = sum(count * each for count, each in zip(genome, self.item_weights, strict=True))
        return Evaluation((float(value - 11 * max(0, weight - self.capacity)),), measures={"weight": weight})

    def references(self) -> dict[str, list[float]]:
        """The optimum, by dynamic programming."""
        counts = numpy.arange(self.settings.copies + 1)
        losses = [numpy.array(-value * counts, float) for value in self.item_values]
        optimum = cheapest(losses, [weight * counts for weight in self.item_weights], self.capacity)
        return {"optimum": [float(count) for count in optimum]}

    def describe(self) -> str:
        settings = self.settings
        return f"{settings.items} items, {settings.copies} of each at most, capacity {self.capacity}"

    @classmethod
    def labels_of(cls, settings: KnapsackSettings) -> tuple[str, ...]:  # noqa: ARG003 - the same for all
        return ("value",)
