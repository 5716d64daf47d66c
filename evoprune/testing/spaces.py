"""Contract checks of genes, budgets and problems."""

import copy
import json
import math
import pickle
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from evoprune.interfaces.budget import Budget
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Problem
from evoprune.interfaces.space import Space

TRIALS = 30
CLOSE = 1e-9


class Monotone(Budget):
    """A budget by a function of the genome that is monotone in each gene."""

    def __init__(self, genes: Genes, spent: Callable[[Sequence[float]], float], limit: float | None) -> None:
        super().__init__(genes, limit, "units")
        self._spent = spent

    def spent(self, genome: Sequence[float]) -> float:
        return self._spent(genome)


def require(holds: bool, law: str) -> None:
    """Raise AssertionError, which names the broken ``law``, unless it ``holds``."""
    if not holds:
        raise AssertionError(law)


def close(first: float, second: float, scale: float) -> bool:
    """Return whether two numbers are equal up to the rounding of numbers as large as ``scale``."""
    return abs(first - second) <= CLOSE * (abs(scale) or 1.0)


def check_space(space: Space) -> None:
    """Check that random genomes are allowed, hashable, as in JSON, and equal for one seed; and their values' keys."""
    state = random.getstate()
    for seed in range(TRIALS):
        random.seed(seed)
        genome = space.random()
        random.seed(seed)
        require(space.random() == genome, "space.random draws from something other than the global random")
        require(space.allow(genome), f"space.random() gave a genome that space.allow refuses: {genome}")
        read = space.from_json(json.loads(json.dumps(genome)))
        require(read == tuple(genome), f"from JSON, {genome} is {read}")
        individual = space.individual(genome)
        for one in (individual, individual.child(), copy.deepcopy(individual)):
            require(one.genome == tuple(genome), f"an individual of {genome} has the genome {one.genome}")
        value = space.chosen(genome)
        require(tuple(space.encoded(space.to_json(value))) == tuple(genome), f"{genome} is not encoded as it is chosen")
        hash(space.key(value))
    random.setstate(state)


def check_genes(genes: Genes) -> None:
    """Check that random and nearest genomes are allowed, and that an allowed genome is its own nearest one."""
    rng = random.Random(0)
    for _ in range(TRIALS):
        genome = genes.random()
        require(genes.allow(genome), f"genes.random() gave a genome that genes.allow refuses: {genome}")
        far = [value + rng.uniform(-2, 2) * (gene.up - gene.low + 1) for gene, value in zip(genes, genome, strict=True)]
        near = genes.nearest(far)
        require(genes.allow(near), f"genes.nearest({far}) is not allowed: {near}")
        require(genes.nearest(genome) == genome, f"genes.nearest changes an allowed genome: {genome}")
        inactive = genes.inactive(near)
        for place, (gene, value, chosen) in enumerate(zip(genes, near, genes.chosen(near), strict=True)):
            expected = None if place in inactive else gene.levels[round(value)] if gene.levels else value
            require(chosen == expected, f"gene '{gene.name}' at {value} stands for {expected}, not {chosen}")
    require(not genes.allow(genes.low[1:]), "genes.allow accepts a genome without a value for each gene")
    require(not genes.allow([math.nan] * len(genes)), "genes.allow accepts nan")


def check_budget(budget: Budget) -> None:
    """Check that the cost rises or falls with each gene, and that all members agree with it."""
    genes, scale = budget.genes, max(abs(budget.least), abs(budget.most))
    for _ in range(TRIALS):
        genome = genes.random()
        spent = budget.spent(genome)
        require(math.isfinite(spent), f"{genome} spends {spent}")
        inside = budget.least - CLOSE * scale <= spent <= budget.most + CLOSE * scale
        require(inside, f"{genome} spends {spent}, beyond least {budget.least} or most {budget.most}")
        for place in genes.free:
            _check_gene(budget, genome, place, scale)
    for most, end in ((True, budget.most), (False, budget.least)):
        require(close(budget.spent(budget.extreme(most)), end, scale), f"extreme(most={most}) does not spend {end}")
    _check_limit(budget)


def _check_gene(budget: Budget, genome: list[float], place: int, scale: float) -> None:
    gene = budget.genes[place]
    steps = len(gene.levels) - 1 if gene.levels else 8
    values = [gene.low + (gene.up - gene.low) * step / (2 * steps) for step in range(2 * steps + 1)]
    spent = []
    for value in values:
        moved = list(genome)
        moved[place] = value
        spent.append(budget.spent(moved))
        price = budget.price(genome, place, value - genome[place])
        difference = spent[-1] - budget.spent(genome)
        law = f"gene '{gene.name}': a price of {price}, a difference of {difference}"
        require(close(price, difference, scale), law)
    way = -1.0 if budget.saves(place) else 1.0
    rises = all(way * (b - a) >= -CLOSE * (scale or 1.0) for a, b in pairwise(spent))
    said = "saves" if way < 0 else "spends"
    require(rises, f"gene '{gene.name}': raising it {said}, as budget.saves says, but not throughout: {spent}")


def _check_limit(budget: Budget) -> None:
    genome = budget.genes.random()
    if budget.limit is not None:
        above = budget.spent(genome) - budget.limit
        span = max(abs(budget.most - budget.least), abs(budget.limit)) * CLOSE
        require(abs(above) <= span or (above > 0) == (budget.excess(genome) > 0), "excess and limit do not agree")
        return
    try:
        budget.excess(genome)
    except ValueError:
        return
    raise AssertionError("a budget without a limit must raise ValueError when asked for the excess")


def check_problem(problem: Problem, trials: int = 3) -> None:
    """Check genes, budget, known genomes and ``trials`` evaluations, each repeated once."""
    space = problem.space
    if isinstance(space, Genes):
        _check_vectors(problem, space)
    else:
        check_space(space)
        require(problem.budget is None, "a budget counts genes, and the problem has another space")
    labels = type(problem).labels_of(problem.settings)
    require(len(labels) == len(problem.signs), f"{len(labels)} labels for {len(problem.signs)} objectives")
    for genome in problem.initial_genomes():
        require(space.allow(genome), f"an initial genome is not allowed: {genome}")
    state = random.getstate()
    for seed in range(trials):
        random.seed(seed)
        genome = problem.random_genome()
        require(space.allow(genome), f"random_genome gave a genome that is not allowed: {genome}")
        random.seed(seed)
        require(problem.random_genome() == genome, "random_genome draws from something other than the global random")
        _check_score(problem, genome)
        if (finals := part(problem, Finals)) and finals.contenders:
            _check_finals(problem, finals, genome)
    random.setstate(state)


def _check_vectors(problem: Problem, genes: Genes) -> None:
    check_genes(genes)
    if (budget := problem.budget) is not None:
        require(list(budget.genes) == list(genes), "problem.budget counts other genes than problem.genes")
        check_budget(budget)
    for name, reference in problem.references().items():
        require(len(reference) == len(genes), f"reference '{name}' has {len(reference)} values for {len(genes)} genes")
        steps = [reference[place] in range(len(genes[place].levels)) for place in genes.with_levels]
        require(all(steps), f"reference '{name}' is not at levels: {reference}")


def _check_finals(problem: Problem, finals: Finals, drawn: Sequence[Any]) -> None:
    require(len(problem.signs) == 1, f"finals choose by one objective, and there are {len(problem.signs)}")
    require(finals.judge(drawn) == finals.judge(drawn), "judge is not deterministic")
    references = list(problem.references().values())
    for name, genome in finals.contenders.items():
        require(list(genome) in references, f"the contender '{name}' is not among the references")
        require(problem.space.allow(genome), f"the contender '{name}' is not allowed as a result: {genome}")


def _check_score(problem: Problem, genome: Sequence[Any]) -> None:
    before = copy.deepcopy(genome)
    first, second = problem.evaluate(genome), problem.evaluate(genome)
    require(genome == before, "evaluate changes the genome")
    same = (first.values, first.work) == (second.values, second.work)
    require(same, f"evaluate is not deterministic: {first.values}, then {second.values}")
    count, expected = len(first.values), len(problem.signs)
    require(count == expected, f"evaluate gave {count} values for {expected} objectives")
    if first.failure is None:
        require(all(map(math.isfinite, first.values)), f"evaluate gave {first.values} without a failure")
    require(first.work >= 0, f"evaluate says its work is {first.work}")
    require(pickle.loads(pickle.dumps(first)) == first, "an evaluation does not survive pickling")
