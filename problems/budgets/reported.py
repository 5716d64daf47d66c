"""The interface of budgets that add to the result what the model costs in their unit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from evoprune import Budget

if TYPE_CHECKING:  # it imports torch, which checking an experiment does not need
    from problems.transforms.transform import Transform


class ReportedBudget(Budget):
    """A budget whose unit is not among the costs that each result states.

    ``of``: what was counted and how, for people. ``result.json`` has it in ``protocol``, under the budget's unit.
    """

    of: str

    @abstractmethod
    def cost(self, transform: Transform, best: Sequence[float]) -> Mapping[str, float]:
        """What the ``dense`` model and that of ``best``, called ``evolved``, cost in the unit; others by their name.

        ``result.json`` has it in ``cost``, under the unit. Any model may be resident afterwards.
        """
