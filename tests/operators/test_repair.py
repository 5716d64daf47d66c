import itertools
import random

import pytest

from evoprune import Additive, Gene, Genes, Individual
from evoprune.operators.repair.rounding import round_to_levels
from evoprune.operators.repair.shift import shift


def knapsacks():
    """Small spaces of levels, prices of both signs, with a genome that lies between levels."""
    rng = random.Random(1)
    for _ in range(60):
        genes = Genes([Gene.of_levels(str(place), range(rng.randint(2, 4))) for place in range(rng.randint(1, 5))])
        prices = [
            sorted((float(rng.randint(0, 20)) for _ in gene.levels), reverse=rng.random() < 0.5) for gene in genes
        ]
        free = Additive(genes, prices, None)
        budget = Additive(genes, prices, float(rng.randint(int(free.least), int(free.most))))
        yield budget, [rng.uniform(0, gene.up) for gene in genes]


def every_genome(budget):
    return itertools.product(*(map(float, range(len(gene.levels))) for gene in budget.genes))


def test_a_repair_of_many_weights_lands_on_the_target():
    """Weights of many sizes, some genes fixed; genomes within the bounds, at them and outside."""
    rng = random.Random(3)
    for trial in range(100):
        low = [rng.uniform(-1, 1) for _ in range(1 + trial % 9)]
        up = [x + rng.choice([0.0, rng.random(), 3.0]) for x in low]
        genes = Genes([Gene(str(place), *ends) for place, ends in enumerate(zip(low, up, strict=True))])
        prices = [-(10 ** rng.uniform(-2, 4)) for _ in low]
        least, most = (Additive.at_share(genes, prices, 0.0).excess(ends) for ends in (up, low))
        share = rng.choice([0.0, 1.0, rng.random()])
        budget = Additive.at_share(genes, prices, (1 - share) * least + share * most)
        for far in (0.0, 3.0):
            genome = [rng.uniform(a - far, b + far) for a, b in zip(low, up, strict=True)]
            (child,) = shift(Individual(genome), genes=genes, budget=budget)
            assert abs(budget.excess(child)) <= 1e-9
            assert genes.allow(child)
            assert list(shift(Individual(child), genes=genes, budget=budget)[0]) == list(child)


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.9])
def test_a_gene_that_spends_nothing_stays(sparsity):
    genes = Genes([Gene.of_levels("metric", range(7)), Gene("free of cost", 0.0, 9.0), Gene("a"), Gene("b")])
    budget = Additive(genes, [0.0, 0.0, -1.0, -3.0], limit=-2.0)
    (child,) = shift(Individual([5.0, 2.5, sparsity, 0.5]), genes=genes, budget=budget)
    assert child[:2] == [5.0, 2.5]
    assert budget.kept(child)


def test_a_genome_at_levels_below_the_limit_only_takes_what_fits():
    for budget, _ in knapsacks():
        for start in every_genome(budget):
            if budget.spent(start) < budget.limit:
                (found,) = shift(Individual(start), genes=budget.genes, budget=budget)
                assert budget.spent(found) <= budget.limit
                for place, (old, new) in enumerate(zip(start, found, strict=True)):
                    assert budget.spent([*start[:place], new, *start[place + 1 :]]) > budget.spent(start) or old == new


def test_rounding_is_at_levels_not_above_the_limit_and_no_single_step_up_fits():
    for budget, genome in knapsacks():
        rounded = Individual(genome)
        round_to_levels(rounded, budget)
        assert budget.genes.allow(rounded)
        assert budget.spent(rounded) <= budget.limit
        for place, gene in enumerate(budget.genes):
            for level in range(len(gene.levels)):
                other = [*rounded[:place], float(level), *rounded[place + 1 :]]
                assert not budget.spent(rounded) < budget.spent(other) <= budget.limit
