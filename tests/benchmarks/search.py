"""A search that a benchmark answers until its tokens are spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cached_property, partial
from typing import Any

import numpy
from deap import base

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.knapsack import Choices, Floats
from evoprune.operators.mutation.exchange import exchange
from evoprune.operators.repair.shift import shift
from evoprune.problems.language_model.problem import LanguageModel

_IDLE = 300  # requests without a new genome after which a search is stopped


class Spent(Exception):
    """More tokens were asked for than are left."""


class Search:
    """One search on ``problem``, which may spend ``tokens``; ``best``: the best on all the text within the budget.

    A genome is paid and scored once at each fidelity, as in a run. ``screening``: the share of the search text for it.
    """

    def __init__(self, problem: LanguageModel, tokens: int, screening: float = 0.125) -> None:
        self.problem, self.budget, self.tokens, self.screening = problem, problem.budget, tokens, screening
        self.session: Any = problem.session
        self._memo: dict[tuple[tuple[float, ...], float], float] = {}
        self.best: Individual | None = None
        self.spent = 0

    def pay(self, tokens: int) -> None:
        """Count ``tokens`` that are about to be read. Raises :class:`Spent` where they are not left."""
        if self.spent + tokens > self.tokens:
            raise Spent
        self.spent += tokens

    def run(self, algorithm: Algorithm) -> None:
        """Answer ``algorithm`` until it ends, the tokens are spent, or it asks for nothing new any more."""
        idle = 0
        try:
            for step in algorithm:
                if isinstance(step, Evaluate):
                    known = len(self._memo)
                    self._answer(step)
                    idle = 0 if len(self._memo) > known else idle + 1
                    if idle == _IDLE:
                        break
        except Spent:
            pass

    def _answer(self, step: Evaluate) -> None:
        windows, window = self.session.texts.search.tokens.shape
        for individual in step.individuals:
            key = individual.genome, step.fidelity
            if key not in self._memo:
                self.pay(max(1, math.ceil(step.fidelity * windows)) * window)
                value, _ = self.session.fitness.value(individual, step.fidelity)
                self._memo[key] = value if math.isfinite(value) else math.inf
            individual.fitness.values = (self._memo[key],)
            may_win = step.fidelity == 1 and not step.probe and self.budget.within(individual)
            if may_win and (self.best is None or individual.fitness > self.best.fitness):
                self.best = deepcopy(individual)

    @cached_property
    def choices(self) -> Choices:
        """All levels, numbered, and their knapsack."""
        return Choices(self.budget)

    @cached_property
    def prices(self) -> Floats:
        """The spending of each level beyond the least, in the budget's unit: ``(choices.count,)``."""
        least = self.budget.extreme(most=False)
        genomes = [list(least) for _ in range(self.choices.count)]
        for number, genome in enumerate(genomes):
            place, value = self.choices.value(number)
            genome[place] = value
        return numpy.array([self.budget.spent(genome) - self.budget.spent(least) for genome in genomes])

    @property
    def given(self) -> dict[str, Any]:
        """Arguments of the algorithms: the toolbox, first genomes and the screening."""
        tools, space = base.Toolbox(), {"genes": self.budget.genes, "budget": self.budget}
        tools.register("individual", lambda: Individual(self.problem.random_genome()))
        tools.register("mutate", exchange, **space)
        tools.register("repair", partial(shift, **space))
        return {"toolbox": tools, "initial_genomes": self.problem.initial_genomes(), "screening": self.screening}


Way = Callable[[Search], Algorithm]


def one(genome: Sequence[float]) -> Algorithm:
    """Score one genome."""
    found = [Individual(genome)]
    yield Evaluate(found)
    yield Generation(found)
