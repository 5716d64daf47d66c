import itertools
import random
from dataclasses import replace

import numpy
import pytest

from evoprune import Additive, Coupled, Gene, Genes, Term
from evoprune.operators.knapsack import Choices, gene_trees


def drawn(seed, levels=4):
    """Six genes with prices that fall, a limit, and costs of all their values."""
    rng = random.Random(seed)
    genes = Genes([Gene.of_levels(str(place), range(rng.randint(1, levels))) for place in range(6)])
    prices = [sorted((float(rng.randint(0, 30)) for _ in gene.levels), reverse=True) for gene in genes]
    least, most = sum(map(min, prices)), sum(map(max, prices))
    budget = Additive(genes, prices, rng.randint(int(least), int(most)))
    return budget, numpy.array([rng.uniform(-1, 5) for gene in genes for _ in gene.levels])


def check_best(budget, costs):
    """Check the best choice against all choices there are."""
    choices = Choices(budget)
    assert choices.count == len(costs)
    within = [
        sum(costs[choices.numbers(genome)])
        for genome in itertools.product(*(map(float, range(len(gene.levels))) for gene in budget.genes))
        if budget.spent(genome) <= budget.limit
    ]
    found = choices.best(costs)
    assert budget.spent(found) <= budget.limit
    assert sum(costs[choices.numbers(found)]) == pytest.approx(min(within))


@pytest.mark.parametrize("seed", range(12))
def test_the_best_choice_is_that_of_trying_all(seed):
    check_best(*drawn(seed))


def test_real_genes_are_chosen_at_even_steps():
    genes = Genes([Gene("a", 0.0, 0.5), Gene("fixed", 0.2, 0.2), Gene.of_levels("b", "xyz")])
    budget = Additive(genes, [-10.0, -1.0, [4.0, 2.0, 0.0]], 5.8, fixed=7.0)
    choices = Choices(budget)
    assert [list(values) for values in choices.values] == [
        pytest.approx([0.05 * step for step in range(11)]), [0.2], [0.0, 1.0, 2.0],
    ]  # fmt: skip
    costs = numpy.array([*(float(step) for step in range(11)), 0.0, 0.0, 2.5, 9.0])
    assert choices.best(costs) == pytest.approx([0.3, 0.2, 1.0])
    assert choices.numbers([0.21, 0.2, 2.0]) == [4, 11, 14]


def test_numbers_tell_the_gene_and_the_value_and_losses_are_known_from_what_has_none():
    known = replace(Gene.of_levels("b", "xy", level_losses=[0.0, 3.0]), absolute=True)
    genes = Genes([known, Gene.of_levels("a", "wxyz", level_losses=[0.0, 1.0, 4.0, None]), Gene("c")])
    choices = Choices(Additive(genes, [[1.0, 0.0], [4.0, 2.0, 0.0, 0.0], -1.0], 3.0, fixed=1.0))
    found = [choices.value(number) for number in range(choices.count)]
    every = [(place, float(value)) for place, values in enumerate(choices.values) for value in values]
    assert found == every
    assert choices.level_losses([1.0, 0.0, 0.0], absolute=False) == {1: {2: 0.0, 3: 0.25, 4: 1.0}}
    assert choices.level_losses([0.0, 1.0, 0.0], absolute=False) == {}
    assert choices.level_losses([0.0, 1.0, 0.0], absolute=True) == {0: {0: 0.0, 1: 3.0}}


def coupled(seed):
    """A width for all of three blocks, each of which stays or goes, with two types in each and one outside."""
    rng, draws = random.Random(seed), numpy.random.default_rng(seed)
    genes, terms = [Gene.of_levels("width", range(3))], []
    for block in range(3):
        place = len(genes)
        genes += [Gene.of_levels(f"{name} {block}", range(count)) for name, count in (("keep", 2), ("a", 3), ("b", 2))]
        kept, width = numpy.array([1.0, 0.0]), numpy.array([8.0, 5.0, 2.0])
        bits = [numpy.sort(draws.integers(1, 9, count))[::-1].astype(float) for count in (3, 2)]
        terms.append(Term((place, place + 1), kept[:, None] * bits[0]))
        terms.append(Term((place, place + 2, 0), kept[:, None, None] * bits[1][:, None] * width))
    genes.append(Gene.of_levels("outside", range(2)))
    terms += [Term((len(genes) - 1,), numpy.array([7.0, 3.0])), Term((), numpy.array(5.0))]
    budget = Coupled(Genes(genes), terms, None, "bytes", lambda levels: 0.5 - 0.1 * levels[0], 1)
    budget.limit = rng.uniform(budget.least, 0.6 * budget.most)
    return budget, draws.uniform(-1, 5, sum(len(gene.levels) for gene in genes))


@pytest.mark.parametrize("seed", range(8))
def test_the_best_choice_of_genes_that_are_spent_together_is_that_of_trying_all(seed):
    check_best(*coupled(seed))


def test_a_gene_that_many_depend_on_comes_first_and_parts_the_others():
    budget, _ = coupled(0)
    first, outside = gene_trees(range(11), [(term.genes, term.table.astype(int)) for term in budget.terms])
    assert (first.place, outside.place) == (0, 10)
    assert [branch.place for branch in first.below] == [1, 4, 7]
    assert [[leaf.place for leaf in branch.below] for branch in first.below] == [[2, 3], [5, 6], [8, 9]]
