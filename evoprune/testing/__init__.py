"""Tests for authors of plugins: functions that raise AssertionError where a law is broken."""

from evoprune.testing.operators import check_operator
from evoprune.testing.spaces import check_budget, check_genes, check_problem, check_space
