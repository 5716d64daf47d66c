"""Budgets: limits on a cost of the smaller model. Imports no torch.

A budget is a function ``budget(transform, *, ...)`` that returns an :class:`evoprune.Budget` over the transform's
genes; its keyword parameters are the user's. Registered under ``evoprune.budgets``.

A budget that measures the machine is a class, a :class:`MeasuredBudget`, whose fields are the user's parameters. The
returned budget may be a :class:`ReportedBudget`, whose costs are added to the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evoprune import Budget, Settings

BUDGETS = "evoprune.budgets"  # the group of entry points
BITS_A_WEIGHT = "bits a weight"  # of the file, for each parameter of the dense model

if TYPE_CHECKING:  # it imports torch, which checking an experiment does not need
    from evoprune.problems.language_model.transforms.stack import Stack


class MeasuredBudget(Settings, ABC):
    """A budget that depends on measurements of the machine, made once and stored in ``measured.json`` of the run."""

    @abstractmethod
    def measure(self, transform: Stack) -> Mapping[str, Any]:
        """Return the measurements: JSON-able facts, at least one. Called in the main process only."""

    def settle(self, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Drop levels of ``transform`` that are not worth their time, by :meth:`Stack.use_times`.

        Called in each process, on any machine, before genes and budget are read.
        """

    @abstractmethod
    def budget(self, transform: Stack, facts: Mapping[str, Any]) -> Budget:
        """Return the budget over the genes of ``transform``; ``facts``: from :meth:`measure`, or empty."""


class ReportedBudget(Budget):
    """A budget in a unit that results do not state otherwise."""

    description: str
    """The measured quantity, for people."""

    @abstractmethod
    def cost(self, transform: Stack, best: Sequence[float]) -> Mapping[str, float]:
        """Return the costs of the ``dense`` model and of ``best``, as ``evolved``, and others by name."""
