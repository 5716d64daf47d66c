"""Problems with known optima, to try operators in seconds: real genes, and genes with levels."""

from problems.benchmark.knapsack import Knapsack
from problems.benchmark.problem import Benchmark

__all__ = ["Benchmark", "Knapsack"]
