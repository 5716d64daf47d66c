"""Budgets: limits on a cost of the smaller model. Imports no torch.

A budget is a function ``budget(transform, *, ...)`` that returns an :class:`evoprune.Budget` over the transform's
genes; its keyword parameters are the user's. Registered under ``evoprune.budgets``. One without a limit can be an
objective: ``problem.trade_offs``.

One that measures the machine is a class, a :class:`MeasuredBudget`, whose fields are the user's parameters. The
returned budget may be a :class:`ReportedBudget`, which adds to the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evoprune import Budget, Settings

BUDGETS = "evoprune.budgets"  # the group of entry points

if TYPE_CHECKING:  # it imports torch, which checking an experiment does not need
    from evoprune.problems.language_model.transforms.stack import Stack


class MeasuredBudget(Settings, ABC):
    """A budget that needs facts of the machine, measured once and kept in ``measured.json`` of the run."""

    @abstractmethod
    def measure(self, transform: Stack) -> Mapping[str, Any]:
        """Measure, in the process that breeds: JSON-able facts, at least one."""

    def settle(self, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Leave out levels of ``transform`` that are not worth it, by :meth:`Stack.use_times`.

        Called in each process, on any machine, before genes and budget are read.
        """

    @abstractmethod
    def budget(self, transform: Stack, facts: Mapping[str, Any]) -> Budget:
        """Return the budget over the genes of ``transform``; ``facts``: as of :meth:`measure`, or empty."""


class ReportedBudget(Budget):
    """A budget whose unit is not among the costs that each result states; ``of``: the counted thing, for people."""

    of: str

    @abstractmethod
    def cost(self, transform: Stack, best: Sequence[float]) -> Mapping[str, float]:
        """Return the costs of the ``dense`` model and of ``best``, called ``evolved``, and others by name."""
