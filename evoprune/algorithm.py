"""The interface of an algorithm: a generator that asks for scores, and says when a generation is complete.

The engine answers each :class:`Evaluate` by setting the individuals' fitness before it resumes
the generator. An algorithm does not deal with workers, histories or stopping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evoprune.individual import Individual


@dataclass(frozen=True)
class Evaluate:
    """Ask for the fitness of ``individuals`` on a share ``fidelity``, in (0, 1], of the data.

    A problem that knows no fidelities scores on all of it. Only what was scored on all can
    become the result of a run, and no ``probe``: what measures something, and may lie off the budget.
    """

    individuals: Sequence[Individual]
    fidelity: float = 1.0
    probe: bool = False


@dataclass(frozen=True)
class Generation:
    """Say that a generation is complete, with the scored ``population`` that it ends with."""

    population: Sequence[Individual]


Algorithm = Iterator[Evaluate | Generation]
