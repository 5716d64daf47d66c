import numpy
import pytest

from evoprune import Gene, Genes
from evoprune.operators.algorithm.cma import cma
from evoprune.problems.benchmark import Knapsack, KnapsackSettings
from tests.operators.algorithm.conftest import drive, toolbox_of


def test_it_begins_in_the_middle_and_again_with_twice_the_population_where_nothing_changes():
    genes = Genes.real("ab", 2.0, 6.0)
    steps = cma(toolbox_of(genes), population=4, initial_genomes=[], genes=genes, sigma=1e-6)
    populations, _ = drive(steps, 60, lambda *_: 1.0)
    assert all(value == pytest.approx(4.0, abs=1e-3) for genome, _ in populations[0] for value in genome)
    sizes = [len(population) for population in populations]
    assert sizes == sorted(sizes)
    assert {*sizes} == {4 << descent for descent in range(len({*sizes}))} > {4}
    again = populations[sizes.index(8)][0][0]
    assert max(abs(value - 4.0) for value in again) > 0.01


def test_other_levels_stay_possible():
    genes = Genes([Gene("x", -1.0, 1.0), Gene.integer("n", 0, 9)])
    steps = cma(toolbox_of(genes), population=6, initial_genomes=[], genes=genes)
    populations, _ = drive(steps, 60, lambda genome, _: genome[0] ** 2 + genome[1])
    late = {genome[1] for population in populations[40:] if len(population) > 2 for genome, _ in population}
    assert 0.0 in late
    assert len(late) > 1


def test_a_model_leads_to_the_optimum_of_a_sum_of_genes_of_all_kinds():
    kinds = [Gene.choice("kind", "abc"), *(Gene(f"x {kind}", -1.0, 1.0, when=("kind", kind)) for kind in "abc")]
    genes = Genes([*Genes.real([f"r{place}" for place in range(8)], -5.0, 5.0), Gene.integer("n", 0, 9), *kinds])
    best = [*numpy.linspace(-3, 3, 8), 7.0, 2.0, 0.0, 0.0, 0.4]

    def score(genome, _):
        far = [(value - by) ** 2 for value, by in zip(genome, best, strict=True)]
        return sum(far[:9]) + (genome[9] != 2.0) + far[10 + int(genome[9])]

    populations, requests = drive(cma(toolbox_of(genes), population=11, initial_genomes=[], genes=genes), 60, score)
    assert sum(len(request.individuals) for request in requests) < 300
    assert min(value for population in populations for _, value in population) < 1e-9


def test_genes_with_levels_are_searched():
    problem = Knapsack(KnapsackSettings(items=20, copies=1))
    tools = toolbox_of(problem.genes, problem.budget, weight=1.0)
    score = lambda genome, _: problem.evaluate(genome).values[0]  # noqa: E731
    populations, _ = drive(cma(tools, population=12, initial_genomes=[], genes=problem.genes), 20, score)
    values = [max(value for _, value in population) for population in populations]
    assert len({tuple(genome) for population in populations for genome, _ in population}) > 20
    assert max(values) > values[0]
