"""The budgets of a problem on a language model: a limit, or objectives beside the loss. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from evoprune import Budget, InputError
from evoprune.experiment.spec import Choice
from evoprune.interfaces.budget import ROUNDING
from evoprune.problems.language_model.budgets import MeasuredBudget
from evoprune.problems.language_model.settings import ProblemSettings, budget_of

if TYPE_CHECKING:
    from evoprune.problems.language_model.transforms.stack.stack import Stack


class Limits:
    """The budgets that ``settings`` name, over the genes of ``transform``; ``facts``: what one of them measured."""

    def __init__(self, settings: ProblemSettings, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Raise :class:`evoprune.InputError` for ``facts`` that no budget measured."""
        self._settings, self._transform, self._facts = settings, transform, facts
        if facts and self.measuring is None:
            raise InputError("holds what another problem.budget measured", "measured.json")
        if facts and self.measuring:
            self.measuring.settle(transform, facts)

    @cached_property
    def budget(self) -> Budget | None:
        """The limit of the search, if there is one."""
        if (chosen := self._settings.budget) is None:
            return None
        budget = self._counted(chosen, "problem.budget")
        if budget.limit is None:
            raise InputError("names no limit: give one of its parameters", "problem.budget")
        return budget

    @cached_property
    def traded(self) -> list[Budget]:
        """The budgets whose amounts are objectives; their limits, if they have any, choose the result."""
        return [self._counted(each, "problem.trade_offs") for each in self._settings.traded]

    @property
    def all(self) -> list[Budget]:
        return [self.budget] if self.budget else self.traded

    @cached_property
    def measuring(self) -> MeasuredBudget | None:
        """The budget that measures the machine, if one does."""
        settings = self._settings
        named = [budget_of(each, "problem.budget") for each in (settings.budget, *settings.traded) if each]
        return next((each for each in named if isinstance(each, MeasuredBudget)), None)

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """Return the place in ``front`` of the best score within the limits; else of the least excess.

        A row of ``front`` has the score, then the amounts.
        """

        def rank(at: int) -> tuple[float, float]:
            score, *spent = front[at]
            both = zip(spent, self.traded, strict=True)
            over = sum(max(0.0, own - budget.limit) / budget.scale for own, budget in both if budget.limit is not None)
            return (over if over > ROUNDING else 0.0), score

        return min(range(len(front)), key=rank)

    def _counted(self, chosen: Choice, key: str) -> Budget:
        found = budget_of(chosen, key)
        if isinstance(found, MeasuredBudget):
            return found.budget(self._transform, self._facts)
        return found(self._transform)
