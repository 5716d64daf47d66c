"""Tests for authors of plugins: each function raises AssertionError, with a clear message, where a law is broken.

They need no test framework: call them from a test of any kind.
"""

from evoprune.testing.operators import check_operator
from evoprune.testing.problems import check_problem
from evoprune.testing.spaces import check_budget, check_genes

__all__ = ["check_budget", "check_genes", "check_operator", "check_problem"]
