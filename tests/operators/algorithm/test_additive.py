import random
from dataclasses import replace

import pytest

from evoprune import Additive, Gene, Genes
from evoprune.operators.algorithm.additive import additive
from tests.operators.algorithm.conftest import drive, toolbox_of

LEVELS = Genes([Gene.of_levels(str(place), ["16", "8", "4"]) for place in range(6)])
SIZES = [1.0, 1.0, 2.0, 2.0, 1.0, 2.0]
HARM = [[0.0, 1.0, 3.0], [0.0, 0.1, 1.0], [0.0, 4.0, 5.0], [0.0, 0.2, 1.5], [0.0, 0.5, 4.0], [0.0, 0.3, 9.0]]


def level_loss(genome, fidelity=1.0):
    return sum(of_levels[int(level)] for of_levels, level in zip(HARM, genome, strict=True))


def budget_of(genes):
    return Additive(genes, [[0.0, -8.0 * size, -12.0 * size] for size in SIZES], 60.0, fixed=144.0)


BUDGET = budget_of(LEVELS)


def run(generations, score, genes=LEVELS, budget=None, **given):
    random.seed(0)
    budget = budget or budget_of(genes)
    return drive(additive(toolbox_of(genes, budget), budget=budget, initial_genomes=[], **given), generations, score)


def test_costs_are_measured_once_each_from_the_better_end():
    _, requests = run(4, level_loss)
    ends, measured = [request.individuals for request in requests if request.probe]
    assert [list(end) for end in ends] == [[0.0] * 6, [2.0] * 6]
    alone = [[float(level * (place == at)) for at in range(6)] for place in range(6) for level in (1, 2)]
    assert [list(one) for one in measured] == alone


def test_of_genes_that_know_their_losses_one_level_is_measured_and_all_of_the_costly_ones():
    found = []
    for level_losses in ([[]] * 6, [[0.5 * cost for cost in of_levels] for of_levels in HARM]):
        genes = Genes(
            [Gene.of_levels(gene.name, gene.levels, own) for gene, own in zip(LEVELS, level_losses, strict=True)]
        )
        found.append(run(2, level_loss, genes=genes)[1])
    measured, known = found
    alone = [[2.0 * (place == at) for at in range(6)] for place in range(6)]
    assert [list(one) for one in known[2].individuals] == alone
    again = [[float(place == at) for at in range(6)] for place in (0, 2, 4, 5)]
    assert [list(one) for one in known[3].individuals] == again
    assert len(measured[2].individuals) == 12
    assert list(known[4].individuals[0]) == list(measured[3].individuals[0])


def test_genes_whose_levels_have_losses_are_not_measured():
    rows = zip(LEVELS, HARM, strict=True)
    genes = Genes([replace(Gene.of_levels(gene.name, gene.levels, own), absolute=True) for gene, own in rows])
    measured, known = run(2, level_loss)[1], run(2, level_loss, genes=genes)[1]
    assert [request.probe for request in known[:3]] == [False, True, False]
    assert list(known[0].individuals[0]) == list(measured[3].individuals[0])  # nothing is scored before it
    assert [list(one) for one in known[1].individuals] == [[0.0] * 6]  # which losses of children are measured from


def test_of_a_gene_with_many_levels_some_are_measured_and_the_others_lie_between():
    genes = Genes([Gene.of_levels("many", range(61)), Gene.of_levels("few", "xyz")])
    prices = [[-float(level) for level in range(61)], [0.0, -20.0, -40.0]]
    budget = Additive(genes, prices, 45.0, fixed=100.0)

    def score(genome, fidelity=1.0):
        return genome[0] + (genome[0] > 36) * (genome[0] - 36) + (0.0, 25.0, 26.0)[int(genome[1])]

    _, requests = run(2, score, genes=genes, budget=budget)
    many = sorted(one[0] for one in requests[2].individuals if one[0])
    assert len(many) < 20
    assert many[-1] == 60
    every = [(float(many), float(few)) for many in range(61) for few in range(3)]
    within = [genome for genome in every if budget.spent(genome) <= budget.limit]
    assert tuple(requests[3].individuals[0]) == min(within, key=score)


def test_where_costs_add_up_the_first_child_is_the_best_genome():
    _, requests = run(2, level_loss)
    every = [[0.0]]
    for _ in range(6):
        every = [[*head, level] for head in every for level in (0.0, 1.0, 2.0)]
    within = [genome[1:] for genome in every if BUDGET.spent(genome[1:]) <= BUDGET.limit]
    assert requests[3].fidelity == 1
    assert level_loss(requests[3].individuals[0]) == pytest.approx(min(map(level_loss, within)))


def test_children_that_were_screened_teach_what_genes_do_to_each_other():
    first = list(run(2, level_loss)[1][3].individuals[0])
    one, other = [place for place, level in enumerate(first) if level][:2]

    def together(genome, fidelity):
        return level_loss(genome) + 10 * (genome[one] == first[one] and genome[other] == first[other])

    populations, requests = run(10, together, offspring=4)
    assert list(requests[3].individuals[0]) == first
    best = min(value for population in populations for _, value in population)
    assert best < together(first, 1.0) - 5


def test_a_level_whose_known_losses_are_too_low_in_all_genes_is_soon_left_alone():
    level_losses = [[0.0, 1.0, 1.1 + 0.01 * place] for place in range(30)]
    genes = Genes(
        replace(Gene.of_levels(str(place), ["16", "8", "4"], own), absolute=True)
        for place, own in enumerate(level_losses)
    )
    budget = Additive(genes, [[0.0, -8.0, -12.0]] * 30, 30 * 8.0, fixed=30 * 16.0)

    def score(genome, fidelity=1.0):
        return sum((0.0, 1.0, 4.5)[int(level)] for level in genome)

    populations, requests = run(3, score, genes=genes, budget=budget, screening=1.0, offspring=4)
    assert min(value for _, value in populations[-1]) < 0.4 * score(requests[0].individuals[0])


def test_a_kind_of_genes_that_add_to_each_others_loss_is_soon_left_alone():
    kinds = ["cut"] * 10 + ["type"] * 10
    genes = Genes(
        [replace(Gene.of_levels(f"{kind} {at}", ["all", "less"]), kind=kind) for at, kind in enumerate(kinds)]
    )
    budget = Additive(genes, [[0.0, -1.0]] * 20, 14.0, fixed=20.0)

    def level_loss(genome, fidelity=1.0):
        cuts, types = sum(genome[:10]), sum(genome[10:])
        return 0.1 * cuts**3 + 0.5 * types

    populations, requests = run(2, level_loss, genes=genes, budget=budget, offspring=4)
    assert list(requests[3].individuals[0]) == [1.0] * 6 + [0.0] * 4 + [0.0] * 10  # each alone costs less
    types_alone = level_loss([0.0] * 14 + [1.0] * 6)
    assert min(value for population in populations for _, value in population) <= types_alone
