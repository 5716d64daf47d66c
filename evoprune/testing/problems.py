"""The laws of problems."""

import math
import pickle
import random

from evoprune.interfaces.parts import Finals, part
from evoprune.interfaces.problem import Problem
from evoprune.testing.spaces import check_budget, check_genes, require


def check_problem(problem: Problem, trials: int = 3) -> None:
    """Check genes, budget, known genomes and ``trials`` evaluations, each made twice."""
    genes = problem.genes
    check_genes(genes)
    if problem.budget is not None:
        require(list(problem.budget.genes) == list(genes), "problem.budget counts other genes than problem.genes")
        check_budget(problem.budget)
    labels = type(problem).labels_of(problem.settings)
    require(len(labels) == len(problem.signs), f"{len(labels)} labels for {len(problem.signs)} objectives")
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
        _check_score(problem, genome)
        if (finals := part(problem, Finals)) and finals.contenders:
            _check_finals(problem, finals, genome)
    random.setstate(state)


def _check_finals(problem: Problem, finals: Finals, drawn: list[float]) -> None:
    require(len(problem.signs) == 1, f"finals choose by one objective, and there are {len(problem.signs)}")
    require(finals.judge(drawn) == finals.judge(drawn), "judge is not deterministic")
    references = list(problem.references().values())
    for name, genome in finals.contenders.items():
        require(list(genome) in references, f"the contender '{name}' is not among the references")
        require(problem.genes.allow(genome), f"the contender '{name}' is not allowed as a result: {genome}")


def _check_score(problem: Problem, genome: list[float]) -> None:
    before = list(genome)
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
