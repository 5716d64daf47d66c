"""The limit of a search: the budget that an experiment names, over the genes of a transform."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

from evoprune import Budget, InputError
from evoprune.plugins import Choice, check_parameters, find_plugin
from evoprune.problems.language_model.budgets import BUDGETS, MeasuredBudget
from evoprune.problems.language_model.transforms.stack import Stack


def budget_of(chosen: Choice, key: str) -> MeasuredBudget | partial[Budget]:
    """Return the budget ``chosen``: one that measures, or a function of the transform."""
    kind = find_plugin(BUDGETS, chosen.use)
    checked = check_parameters(kind, chosen.parameters, key)
    return checked if isinstance(checked, MeasuredBudget) else partial(kind, **dict(checked))


class Limits:
    """The budget ``chosen`` over the genes of ``transform``; ``facts``: measurements of the machine."""

    def __init__(self, chosen: Choice | None, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Raise :class:`evoprune.InputError` for ``facts`` of another budget."""
        self.chosen, self._transform, self._facts = chosen, transform, facts
        self._kind = budget_of(chosen, "problem.budget") if chosen else None
        self.measured_budget = self._kind if isinstance(self._kind, MeasuredBudget) else None
        """The budget if it measures the machine."""
        if facts and self.measured_budget is None:
            raise InputError("holds what another problem.budget measured", "measured.json")
        if facts and self.measured_budget:
            self.measured_budget.settle(transform, facts)

    @cached_property
    def budget(self) -> Budget | None:
        """The limit of the search, if any."""
        if (kind := self._kind) is None:
            return None
        transform, facts = self._transform, self._facts
        budget = kind.budget(transform, facts) if isinstance(kind, MeasuredBudget) else kind(transform)
        if budget.limit is None:
            raise InputError("names no limit: give one of its parameters", "problem.budget")
        return budget
