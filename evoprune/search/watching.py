"""Early stopping: what the best of a search is worth on data that the search never sees."""

from __future__ import annotations

import math
from collections.abc import Mapping

from deap import base

from evoprune.errors import InputError
from evoprune.individual import Individual
from evoprune.numeric import finite
from evoprune.problem import Problem
from evoprune.records.history import Line
from evoprune.search.scoring import draws_apart


def check(problem: Problem, toolbox: base.Toolbox) -> None:
    """Raise :class:`InputError` if there is nothing to watch. Draws random numbers."""
    if len(problem.weights) > 1:
        raise InputError(f"patience: with {len(problem.weights)} objectives there is no one best to watch")
    (individual,) = toolbox.repair(toolbox.individual())
    if problem.watch(individual) is None:
        raise InputError(
            "patience: the problem has nothing to watch, as it is set up; leave patience out, or give it data "
            "for that (held_out_windows, in pruning)"
        )


class Watch:
    """Watches the best so far, each new one once, in the process that breeds.

    ``recorded``: what earlier generations of a resumed run saw, which is not computed again.
    ``best`` is the best watched individual; it stays None where ``patience`` is None, because
    then nothing is watched: it costs time.
    """

    def __init__(self, problem: Problem, patience: int | None, recorded: Mapping[int, float | None]) -> None:
        self._problem, self._patience, self._recorded = problem, patience, recorded
        self._watched: int | None = None
        self._value = self._least = math.inf
        self._since = 0
        self.best: Individual | None = None

    def look(self, generation: int, best: Individual | None) -> Line:
        """The part of the generation's line that tells of this. ``best`` is the best so far, None if there is none."""
        if self._patience is None:
            return {}
        self._since += 1
        if best is not None and best.ident != self._watched:
            self._watched = best.ident
            self._value = self._seen(generation, best)
            if self.best is None or self._value < self._least:
                self.best, self._least, self._since = best, self._value, 0
        return {"watched": finite(self._value)}

    @property
    def over(self) -> bool:
        """Whether ``patience`` generations went by without a better watched value."""
        return self._patience is not None and self._since >= self._patience

    def _seen(self, generation: int, best: Individual) -> float:
        if generation in self._recorded:
            value = self._recorded[generation]
        else:
            try:
                with draws_apart():
                    value = self._problem.watch(best)
            except Exception:  # it was scored without: a fault of this data, or a moment without memory
                value = None
        return math.inf if value is None or not math.isfinite(value) else float(value)
