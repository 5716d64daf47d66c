"""Early stopping: a search ends when its best no longer gets better on data that it never sees.

Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade (1998).
"""

import math
from collections.abc import Mapping

from deap import base

from evoprune.errors import InputError
from evoprune.files.json_files import finite
from evoprune.interfaces.algorithm import Individual
from evoprune.interfaces.parts import HeldOut, part
from evoprune.interfaces.problem import Problem
from evoprune.records.history import Line
from evoprune.search.draws import draws_apart


def check_patience(problem: Problem, toolbox: base.Toolbox) -> None:
    """Raise :class:`InputError` if ``problem`` has several objectives, or no held-out data. Draws random numbers."""
    if len(problem.weights) > 1:
        raise InputError(f"patience: of {len(problem.weights)} objectives no candidate is the best; leave it out")
    (individual,) = toolbox.repair(toolbox.individual())
    held_out = part(problem, HeldOut)
    if held_out is None or held_out.held_out_value(individual) is None:
        raise InputError(
            f"patience: the problem {type(problem).__name__}, as it is set up, has no data held out from the search; "
            "leave patience out, or give the problem such data"
        )


class EarlyStopping:
    """Measures each new best on held-out data, once, in the main process; nothing if ``patience`` is None."""

    def __init__(self, problem: Problem, patience: int | None, recorded: Mapping[int, float | None]) -> None:
        self._problem, self._patience, self._recorded = problem, patience, recorded
        self._measured: int | None = None
        self._value = self._least = math.inf
        self._since = 0
        self.best: Individual | None = None

    def update(self, generation: int, best: Individual | None) -> Line:
        """Measure ``best``, the best so far (None if there is none); return the part of the generation's line."""
        if self._patience is None:
            return {}
        self._since += 1
        if best is not None and best.ident != self._measured:
            self._measured = best.ident
            value = self._recorded[generation] if generation in self._recorded else self._held_out_value(best)
            self._value = math.inf if value is None else value
            if self.best is None or self._value < self._least:
                self.best, self._least, self._since = best, self._value, 0
        return {"watched": finite(self._value)}

    @property
    def should_stop(self) -> bool:
        return self._patience is not None and self._since >= self._patience

    def _held_out_value(self, individual: Individual) -> float:
        held_out = part(self._problem, HeldOut)
        assert held_out  # as check_patience found
        try:
            with draws_apart():
                value = held_out.held_out_value(individual)
        except Exception:  # the search could score it: a fault of this data, or too little memory for a moment
            value = None
        return math.inf if value is None or not math.isfinite(value) else float(value)
