"""The laws of problems."""

import math
import pickle
import random
from collections.abc import Callable

from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Evaluation, Problem
from evoprune.testing.spaces import check_budget, check_genes, require


def check_problem(problem: Problem, trials: int = 3) -> None:
    """Check genes, budget, known genomes and ``trials`` evaluations, each made twice."""
    genes = problem.genes
    check_genes(genes)
    if problem.budget is not None:
        require(list(problem.budget.genes) == list(genes), "problem.budget counts other genes than problem.genes")
        check_budget(problem.budget)
    labels = type(problem).labels_of(problem.settings)
    require(len(labels) == len(problem.weights), f"{len(labels)} labels for {len(problem.weights)} objectives")
    for name, reference in problem.references().items():
        require(len(reference) == len(genes), f"reference '{name}' has {len(reference)} values for {len(genes)} genes")
        steps = [reference[place] in range(len(genes[place].levels)) for place in genes.with_levels]
        require(all(steps), f"reference '{name}' is not at levels: {reference}")
    for genome in problem.initial_genomes():
        require(genes.allow(genome), f"an initial genome is not allowed: {genome}")
    state = random.getstate()
    for seed in range(trials):
        random.seed(seed)
        genome = problem.random_genome()
        require(genes.allow(genome), f"random_genome gave a genome that is not allowed: {genome}")
        random.seed(seed)
        require(problem.random_genome() == genome, "random_genome draws from something other than the global random")
        _check_score("evaluate", problem.evaluate, problem, genome)
        if (finals := part(problem, Finals)) and finals.finalists:
            _check_contenders(problem, finals)
            most = _check_score("judge", finals.judge, problem, genome).work
            require(most <= finals.judging_cost, f"judge says its work is {most}, above judging_cost")
    random.setstate(state)


def _check_contenders(problem: Problem, finals: Finals) -> None:
    references = list(problem.references().values())
    for name, genome in finals.contenders.items():
        require(list(genome) in references, f"the contender '{name}' is not among the references")
        require(problem.genes.allow(genome), f"the contender '{name}' is not allowed as a result: {genome}")


def _check_score(
    name: str, score: Callable[[list[float]], Evaluation], problem: Problem, genome: list[float]
) -> Evaluation:
    before = list(genome)
    first, second = score(genome), score(genome)
    require(genome == before, f"{name} changes the genome")
    same = (first.values, first.work) == (second.values, second.work)
    require(same, f"{name} is not deterministic: {first.values}, then {second.values}")
    count, expected = len(first.values), len(problem.weights)
    require(count == expected, f"{name} gave {count} values for {expected} objectives")
    if first.failure is None:
        require(all(map(math.isfinite, first.values)), f"{name} gave {first.values} without a failure")
    require(first.work >= 0, f"{name} says its work is {first.work}")
    require(pickle.loads(pickle.dumps(first)) == first, "an evaluation does not survive pickling")
    return first
