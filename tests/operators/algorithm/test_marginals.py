"""What a unit saved costs in each gene: where levels spend the same, and where a gene changes nothing."""

import math

import pytest

from evoprune import Additive, Gene, Genes, Individual, Monotone
from operators.algorithm.marginals import log_marginals

GENES = Genes([Gene.of_levels("plateau", range(5)), Gene.of_levels("even", range(3))])
BUDGET = Additive(GENES, [[0.0, 1.0, 4.0, 4.0, 9.0], [0.0, 1.0, 2.0]], 5.0)


def measured(centre, budget, loss):
    """The marginal costs, and the genomes that were asked about."""
    marginals = log_marginals(Individual(centre), budget, 0.08, 1.0)
    asked = next(marginals).individuals
    for individual in asked:
        individual.fitness.values = (loss(individual),)
    with pytest.raises(StopIteration) as done:
        marginals.send(None)
    return done.value.value, [list(individual) for individual in asked]


@pytest.mark.parametrize(("level", "probe"), [(3.0, 1.0), (2.0, 1.0), (4.0, 3.0), (0.0, 1.0)])
def test_a_gene_with_levels_is_moved_until_what_it_spends_changes(level, probe):
    marginals, asked = measured([level, 1.0], BUDGET, lambda genome: 9.0 - sum(genome))
    assert asked == [[level, 1.0], [probe, 1.0], [level, 0.0]]
    assert all(map(math.isfinite, marginals))


def test_a_gene_that_spends_nothing_where_the_search_is_can_be_measured():
    """Its weight is not 0, as it counts where the other gene is in the middle of its range."""
    budget = Monotone(GENES, lambda genome: genome[1] * (1 + genome[0]), 5.0)
    marginals, asked = measured([2.0, 0.0], budget, lambda genome: 9.0 - sum(genome))
    assert len(asked) == 3
    assert all(map(math.isfinite, marginals))
