"""Cuts and types one after the other, each under a limit of its own; and each alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from evoprune import Algorithm, Coupled, Evaluate, Gene, Genes, Individual, Term
from evoprune.operators.algorithm.additive import additive
from evoprune.problems.language_model.transforms.genomes import initial_within
from evoprune.problems.language_model.transforms.gguf_types.transform import Types
from tests.benchmarks.search import Search, Way

_IDLE = 12  # requests without a new genome after which a step ends: of cuts alone there are few


class Part(Search):
    """``search`` with some genes ``free``, under a ``limit`` of its own; others have one level, that of ``genome``."""

    def __init__(self, search: Search, genome: Sequence[float], free: Collection[int], limit: float) -> None:
        super().__init__(search.problem, search.tokens, search.screening)
        whole: Coupled = search.budget  # type: ignore[assignment]
        self._kept = [
            list(range(len(gene.levels))) if at in free else [int(genome[at])] for at, gene in enumerate(whole.genes)
        ]
        genes = Genes([_gene(gene, own) for gene, own in zip(whole.genes, self._kept, strict=True)])

        def beside(levels: tuple[int, ...]) -> float:
            return whole.beside(tuple(self._kept[at][level] for at, level in enumerate(levels)))

        self.budget = Coupled(genes, [self._of(term) for term in whole.terms], limit, whole.unit, beside, whole.decide)
        known = self.session.transform.initial_genomes()
        known = [[value * (at in free) for at, value in enumerate(each)] for each in known]
        own = SimpleNamespace(initial_genomes=lambda: known)
        first = [genes.low, *initial_within(own, self.budget)]  # type: ignore[arg-type]
        self.problem = SimpleNamespace(random_genome=genes.random, initial_genomes=lambda: first)  # type: ignore[assignment]

    def real(self, genome: Sequence[float]) -> list[float]:
        """The genome of the whole problem."""
        return [float(own[int(value)]) for own, value in zip(self._kept, genome, strict=True)]

    def _of(self, term: Term) -> Term:
        table = term.table
        for axis, at in enumerate(term.genes):
            table = table.take(self._kept[at], axis)
        return Term(term.genes, table)


def _gene(gene: Gene, levels: Sequence[int]) -> Gene:
    if len(levels) == len(gene.levels):
        return gene
    return Gene.of_levels(gene.name, [gene.levels[level] for level in levels], gene.group)


def in_turn(search: Search, *limits: tuple[str, float | None]) -> Algorithm:
    """Search the genes of each kind, ``cuts`` or ``types``, under its limit in bytes, with equal shares of the tokens.

    The genes that were searched before stay at the best genome; None is the limit of the problem. The search ends
    where a limit is out of reach.
    """
    types = {at for at, gene in enumerate(search.budget.genes) if gene.kind == Types.__name__}
    genome = search.session.transform.dense
    for turn, (kind, limit) in enumerate(limits, 1):
        places = types if kind == "types" else {*range(len(genome))} - types
        part = Part(search, genome, places, search.budget.limit if limit is None else limit)
        try:
            part.budget.check_reachable()
        except ValueError:
            return
        found: list[Individual] = []
        yield from _one_part(search, part, turn * search.tokens // len(limits), found)
        if not found:
            return
        genome = part.real(max(found, key=lambda individual: individual.fitness))


def _one_part(search: Search, part: Part, tokens: int, found: list[Individual]) -> Iterator[Any]:
    """Search ``part`` until ``tokens`` are spent in all; those that may win are added to ``found``."""
    idle, seen = 0, set()
    for step in additive(**part.given, budget=part.budget):
        if not isinstance(step, Evaluate):
            continue
        real = [Individual(part.real(individual)) for individual in step.individuals]
        yield Evaluate(real, step.fidelity, probe=step.probe)
        for individual, scored in zip(step.individuals, real, strict=True):
            individual.fitness.values = scored.fitness.values
        new = {(individual.genome, step.fidelity) for individual in real} - seen
        idle, seen = 0 if new else idle + 1, seen | new
        if step.fidelity == 1 and not step.probe:
            found += [each for each in step.individuals if part.budget.within(each)]
        if search.spent >= tokens or idle == _IDLE:
            return


def named(name: str) -> Way | None:
    """The way ``cuts of SHARE%, then types``, a share of the bytes in 16 bits, or ``types in NUMBER MB, then cuts``."""
    if found := re.fullmatch(r"cuts of ([\d.]+)%, then types", name):
        share = float(found[1]) / 100
        return lambda search: in_turn(search, ("cuts", search.budget.most * (1 - share)), ("types", None))
    if found := re.fullmatch(r"types in ([\d.]+) MB, then cuts", name):
        limit = 1e6 * float(found[1])
        return lambda search: in_turn(search, ("types", limit), ("cuts", None))
    return None


ONCE: dict[str, Way] = {}
SEEDED: dict[str, Way] = {
    "types alone": lambda search: in_turn(search, ("types", None)),
    "cuts alone": lambda search: in_turn(search, ("cuts", None)),
}
