"""What the ways to choose types are given: one model with its levels, at any size of the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy
from deap import base

from evoprune import Additive, Choice, Individual
from operators.knapsack import Choices, Floats
from operators.mutation.exchange import exchange
from operators.repair.shift import shift
from problems.language_model.problem import LanguageModel
from problems.transforms.gguf_types.transform import Types

Made = TypeVar("Made")

Pay = Callable[[int], None]
"""Takes the number of tokens that are about to be run through the model; may raise, where they are not to be had."""


class Remembered:
    """A fitness that scores each genome once, whoever asks; ``reused``: the seconds of what was not done again."""

    def __init__(self, fitness: Any) -> None:
        self._fitness, self.measure = fitness, fitness.measure
        self._known: dict[Hashable, tuple[Any, float]] = {}
        self.reused = 0.0

    def value(self, genome: Sequence[float], fidelity: float = 1.0) -> tuple[float, int]:
        """As :meth:`problems.evaluation.session.Fitness.value`."""
        return self.once((tuple(genome), fidelity), lambda: self._fitness.value(genome, fidelity))

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` returned when ``key`` was first asked for."""
        if key in self._known:
            self.reused += self._known[key][1]
        else:
            start = time.process_time()
            self._known[key] = make(), time.process_time() - start
        return self._known[key][0]  # type: ignore[no-any-return]


def remembering(problem: LanguageModel) -> LanguageModel:
    """``problem``, which must be without budget yet, with a fitness that remembers."""
    problem.session = replace(problem.session, fitness=Remembered(problem.session.fitness))  # type: ignore[arg-type]
    return problem


@dataclass(frozen=True)
class Task:
    """``problem``, on the transform ``types`` alone, with a budget; ``screening``: the share of the text for it."""

    problem: LanguageModel
    pay: Pay
    screening: float = 0.125

    @classmethod
    def of(cls, problem: LanguageModel, bits: float, pay: Pay, screening: float = 0.125) -> Task:
        """Of a ``problem`` without budget, at some ``bits`` for each parameter. Raises ValueError out of reach."""
        sized = copy(problem)
        budget = Choice(use="bits_per_weight", at_most=bits)
        sized.settings = problem.settings.model_copy(update={"budget": budget})
        sized.budget.check_reachable()
        return cls(sized, pay, screening)

    @property
    def budget(self) -> Additive:
        """The bits of the file for each parameter."""
        return self.problem.budget  # type: ignore[return-value]

    @property
    def transform(self) -> Types:
        """The levels."""
        return self.problem.session.transform  # type: ignore[return-value]

    @cached_property
    def choices(self) -> Choices:
        """All levels, numbered, and their knapsack."""
        return Choices(self.budget)

    @cached_property
    def uniform(self) -> list[float]:
        """One type for all matrices, as far as their widths allow it: the largest that fits."""
        return self.problem.references()["uniform"]

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """See :meth:`Remembered.once`."""
        return self.problem.session.fitness.once(key, make)  # type: ignore[attr-defined, no-any-return]

    def prices(self) -> Floats:
        """The bytes of each level, in the order of :attr:`choices`: ``(choices.count,)``."""
        return numpy.concatenate([numpy.asarray(price) for price in self.transform.costs("bytes")[0]])

    def toolbox(self) -> base.Toolbox:
        """What the product's searches use."""
        tools, genes = base.Toolbox(), self.problem.genes
        tools.register("individual", lambda: Individual(self.problem.random_genome()))
        tools.register("mutate", exchange, genes=genes, budget=self.budget)
        tools.register("repair", partial(shift, genes=genes, budget=self.budget))
        return tools
