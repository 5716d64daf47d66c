"""What is searched on any model: attentions and MLPs at a free ratio, or in equal numbers, as EvoPress drops them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

from deap import base

from evoprune import Individual
from operators.mutation.exchange import exchange
from operators.repair.shift import shift
from problems.language_model.problem import LanguageModel
from problems.models.sublayers import KINDS


class Removal:
    """The genes of the transform ``sublayers`` under the budget ``parameters``; no block is protected.

    Raises ValueError where the limit is out of reach.
    """

    def __init__(self, problem: LanguageModel) -> None:
        problem.budget.check_reachable()
        self.problem, self.budget, self._genes = problem, problem.budget, problem.genes

    @cached_property
    def kinds(self) -> list[list[int]]:
        """The places of the free genes of attentions, and of MLPs."""
        return [[gene for gene in self.budget.free if self._genes[gene].name.startswith(kind)] for kind in KINDS]

    @cached_property
    def number(self) -> int:
        """The fewest attentions, and as many MLPs, that keep the budget whichever they are."""
        least = [accumulate(sorted(self.budget.weights[gene] for gene in kind)) for kind in self.kinds]
        needed = self.budget.most - self.budget.limit
        return next(number for number, saved in enumerate(map(sum, zip(*least, strict=True)), 1) if saved >= needed)

    def toolbox(self) -> base.Toolbox:
        """What the product's searches use, at a free ratio."""
        tools = base.Toolbox()
        tools.register("individual", lambda: Individual(self.problem.random_genome()))
        tools.register("mutate", exchange, genes=self._genes, budget=self.budget)
        tools.register("repair", partial(shift, genes=self._genes, budget=self.budget))
        return tools

    def equal_numbers(self) -> base.Toolbox:
        """Random genomes that drop :attr:`number` of each kind."""
        tools = base.Toolbox()
        tools.register("individual", self._random)
        return tools

    def cheapest(self, costs: Sequence[float]) -> list[float]:
        """The genome that drops the :attr:`number` of each kind that cost the least."""
        dropped = {gene for kind in self.kinds for gene in sorted(kind, key=lambda gene: costs[gene])[: self.number]}
        return [float(gene in dropped) for gene in range(len(self._genes))]

    def windows(self) -> list[list[float]]:
        """The genomes that drop :attr:`number` consecutive blocks."""
        pairs = [*zip(*self.kinds, strict=True)]
        runs = [{*sum(pairs[at : at + self.number], ())} for at in range(len(pairs) - self.number + 1)]
        return [[float(gene in run) for gene in range(len(self._genes))] for run in runs]

    def facts(self, genome: list[float]) -> dict[str, Any]:
        """The share of the blocks' parameters that ``genome`` removes, and the blocks whose sublayers it drops."""
        saved = (self.budget.most - self.budget.spent(genome)) / self.problem.session.resident.block_parameters
        attentions, mlps = ([block for block, gene in enumerate(kind) if genome[gene]] for kind in self.kinds)
        return {"removed": saved, "attentions": attentions, "mlps": mlps}

    def _random(self) -> Individual:
        dropped = {gene for kind in self.kinds for gene in random.sample(kind, self.number)}
        return Individual(float(gene in dropped) for gene in range(len(self._genes)))
