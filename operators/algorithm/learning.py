"""What a search's own history says of its mutations: which genes' changes have helped."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_left, bisect_right
from statistics import fmean, pstdev

from deap import base

from evoprune import Individual, InputError
from operators.algorithm.breeding import mutant

_MEMORY = 0.8
"""How much of what is known counts after another generation: the best place to be moves on."""

_UNSEEN = 0.01
"""Of a step's square: changes smaller than a tenth of a step, all together, teach little."""


class Learning:
    """Leans mutations the way that helped, gene by gene.

    Advice for a gene is its parent's plus a step times the correlation of the gene's changes with
    its children's ranks, in standard errors: about within [-1, 1] for a gene that does not
    matter. Ranks, for losses may differ by orders of magnitude. Old generations fade.
    ``strength`` is that of ``toolbox.mutate``, which must know it, ``advice`` and ``step``; 0 is no leaning.
    """

    def __init__(self, toolbox: base.Toolbox, strength: float) -> None:
        self._toolbox = toolbox
        self._strength = strength
        self._step = _step_of(toolbox) if strength else 0.0
        self._bred: list[tuple[Individual, Individual]] = []
        self._helped: list[float] = []
        """For each gene, the sum of its changes times the standardised ranks of the children, the best's highest."""
        self._changed: list[float] = []
        """The sum of its changes squared."""

    def mutant(self, parent: Individual) -> Individual:
        """A mutated and repaired child of ``parent``, from which :meth:`note` will learn."""
        if not self._strength:
            return mutant(self._toolbox, parent)
        least = _UNSEEN * self._step**2
        if not self._helped:
            self._helped, self._changed = [0.0] * len(parent), [0.0] * len(parent)
        scores = [h / math.sqrt(c + least) for h, c in zip(self._helped, self._changed, strict=True)]
        advice = [gene + self._step * score for gene, score in zip(parent, scores, strict=True)]
        child = mutant(self._toolbox, parent, advice=advice, strength=self._strength)
        self._bred.append((parent, child))
        return child

    def note(self) -> None:
        """The mutants since the last time are scored, all on the same data."""
        bred, self._bred = self._bred, []
        if len(bred) < 2:
            return
        scores = sorted(child.fitness.wvalues for _, child in bred)
        ranks = [bisect_left(scores, c.fitness.wvalues) + bisect_right(scores, c.fitness.wvalues) for _, c in bred]
        mean, spread = fmean(ranks), pstdev(ranks)
        if not spread:  # all failed, say
            return
        self._helped = [_MEMORY * value for value in self._helped]
        self._changed = [_MEMORY * value for value in self._changed]
        for (parent, child), place in zip(bred, ranks, strict=True):
            rank = (place - mean) / spread
            for gene, (new, old) in enumerate(zip(child, parent, strict=True)):
                self._helped[gene] += rank * (new - old)
                self._changed[gene] += (new - old) ** 2


def _step_of(toolbox: base.Toolbox) -> float:
    """The step of the mutation. Raises :class:`InputError` if it takes no advice."""
    known = inspect.signature(toolbox.mutate).parameters
    if not {"advice", "strength", "step"} <= set(known):
        raise InputError(
            "operators.algorithm.learning: what is learnt leans a mutation that takes advice, strength and step; "
            "expected operators.mutate: exchange, or learning: 0"
        )
    return float(known["step"].default)
