"""A part of the genes of a problem, under a limit of its own: the others stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from deap import base

from evoprune import Coupled, Gene, Genes, Individual, Term
from operators.mutation.exchange import exchange
from operators.repair.shift import shift


class Part:
    """``problem``, whose budget is coupled, with some genes ``free``; others have one level, that of ``genome``."""

    def __init__(self, problem: Any, genome: Sequence[float], free: Collection[int], limit: float) -> None:
        whole: Coupled = problem.budget
        self._known, self._free = problem.session.transform.known, free
        self._kept = [
            list(range(len(gene.levels))) if at in free else [int(genome[at])] for at, gene in enumerate(whole.genes)
        ]
        genes = Genes([_gene(gene, own) for gene, own in zip(whole.genes, self._kept, strict=True)])

        def beside(levels: tuple[int, ...]) -> float:
            return whole.beside(tuple(self._kept[at][level] for at, level in enumerate(levels)))

        self.budget = Coupled(genes, [self._of(term) for term in whole.terms], limit, whole.unit, beside, whole.decide)
        fitness = problem.session.fitness
        score = SimpleNamespace(value=lambda own, fidelity: fitness.value(self.real(own), fidelity))
        self.session = SimpleNamespace(texts=problem.session.texts, fitness=score)

    def real(self, genome: Sequence[float]) -> list[float]:
        """The genome of the whole problem."""
        return [float(own[int(value)]) for own, value in zip(self._kept, genome, strict=True)]

    def known(self) -> list[list[float]]:
        """What the transform knows of the free genes."""
        return [[value * (at in self._free) for at, value in enumerate(genome)] for genome in self._known()]

    def toolbox(self) -> base.Toolbox:
        """What the product's searches use."""
        tools, genes = base.Toolbox(), self.budget.genes
        tools.register("individual", lambda: Individual(genes.random()))
        tools.register("mutate", exchange, genes=genes, budget=self.budget)
        tools.register("repair", partial(shift, genes=genes, budget=self.budget))
        return tools

    def _of(self, term: Term) -> Term:
        table = term.table
        for axis, at in enumerate(term.genes):
            table = table.take(self._kept[at], axis)
        return Term(term.genes, table)


def _gene(gene: Gene, levels: Sequence[int]) -> Gene:
    if len(levels) == len(gene.levels):
        return gene
    return Gene.of_levels(gene.name, [gene.levels[level] for level in levels], gene.group)
