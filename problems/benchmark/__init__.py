"""Test functions with known optima, to try operators in seconds."""

from problems.benchmark.problem import Benchmark

__all__ = ["Benchmark"]
