import math
import random

import pytest

from evoprune import Additive, Gene, Genes, Individual
from evoprune.operators.mutation.exchange import exchange
from evoprune.testing.spaces import Monotone

WEIGHTS = [1.0, 2.0, 50.0, 3.0, 0.0, 7.0]
GENES = Genes.real("abcdef", 0.0, 0.9)
SPACE = {"genes": GENES, "budget": Additive(GENES, [-weight for weight in WEIGHTS], None)}


def children(genes, trials=300, **parameters):
    random.seed(0)
    for _ in range(trials):
        (child,) = exchange(Individual(genes), **SPACE, **parameters)
        yield child


def total(genes):
    return sum(gene * weight for gene, weight in zip(genes, WEIGHTS, strict=True))


def test_the_weighted_sum_is_kept_whatever_the_weights():
    genes = [0.1, 0.8, 0.45, 0.0, 0.3, 0.9]
    for child in children(genes, step=0.5):
        assert total(child) == pytest.approx(total(genes), abs=1e-12)
        assert child[4] == genes[4]  # governs nothing


def test_one_move_changes_two_genes_by_at_most_the_step():
    genes, average = [0.45] * 6, sum(WEIGHTS) / 5
    for child in children(genes, moves=1, step=0.02):
        changes = [(new - old) * weight for new, old, weight in zip(child, genes, WEIGHTS, strict=True)]
        assert sum(change != 0 for change in changes) == 2
        assert max(changes) <= 0.02 * average


@pytest.mark.parametrize("curved", [False, True])
def test_levels_move_by_whole_levels_and_never_above_what_was_spent(curved):
    random.seed(0)
    levels = Gene.of_levels("levels", range(5)), Gene.of_levels("kinds", "abc"), Gene.of_levels("flag", [0, 1])
    genes = Genes([*levels, Gene("real", -1.0, 2.0)])
    budget = Additive(genes, [[0.0, 1.0, 4.0, 5.0, 9.0], [7.0, 3.0, 1.0], [0.0, 2.0], -3.0], None)
    if curved:
        budget = Monotone(genes, lambda genome, sums=budget.spent: math.exp(0.1 * sums(genome)), None)
    moved = 0
    for _ in range(300):
        start = genes.random()
        (child,) = exchange(Individual(start), genes=genes, budget=budget, step=0.5)
        assert genes.allow(child)
        assert budget.spent(child) <= budget.spent(start) + 1e-9
        moved += child != start
    assert moved > 150  # the others have drawn genes that are at their ends
