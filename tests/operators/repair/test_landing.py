import itertools
import random

import pytest

from evoprune import Additive, Gene, Genes, Individual
from evoprune.experiment import registry
from operators.repair.landing import land

NAMES = ["project", "scale", "shift"]


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


def test_landing_is_at_levels_not_above_the_limit_and_no_single_step_up_fits():
    for budget, genome in knapsacks():
        landed = Individual(genome)
        land(landed, budget)
        assert budget.genes.allow(landed)
        assert budget.spent(landed) <= budget.limit
        for place, gene in enumerate(budget.genes):
            for level in range(len(gene.levels)):
                other = [*landed[:place], float(level), *landed[place + 1 :]]
                assert not budget.spent(landed) < budget.spent(other) <= budget.limit


def test_every_limit_that_one_genome_meets_is_kept_by_landing_there():
    for budget, _ in knapsacks():
        for genome in itertools.product(*(range(len(gene.levels)) for gene in budget.genes)):
            if budget.spent(genome) == budget.limit:
                landed = Individual(map(float, genome))
                land(landed, budget)
                assert landed == list(genome)


@pytest.mark.parametrize("name", NAMES)
def test_a_genome_at_levels_below_the_limit_only_takes_what_fits(name):
    for budget, _ in knapsacks():
        for start in itertools.product(*(map(float, range(len(gene.levels))) for gene in budget.genes)):
            if budget.spent(start) < budget.limit:
                (found,) = registry.operator("repair", name)(Individual(start), genes=budget.genes, budget=budget)
                assert budget.spent(found) <= budget.limit
                for place, (old, new) in enumerate(zip(start, found, strict=True)):
                    assert budget.spent([*start[:place], new, *start[place + 1 :]]) > budget.spent(start) or old == new


@pytest.mark.parametrize("name", NAMES)
def test_real_genes_take_up_what_levels_leave(name):
    rng = random.Random(2)
    genes = Genes([Gene.of_levels("a", range(5)), Gene("b"), Gene.of_levels("c", "xyz"), Gene("d", -1.0, 1.0)])
    for _ in range(50):
        budget = Additive(genes, [[0.0, 2.0, 3.0, 7.0, 8.0], -6.0, [5.0, 2.0, 1.0], 4.0], rng.uniform(-1.0, 10.0))
        (found,) = registry.operator("repair", name)(Individual(genes.random()), genes=genes, budget=budget)
        assert genes.allow(found)
        assert budget.spent(found) == pytest.approx(budget.limit, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_on_the_budget_stays_to_the_last_bit(name, problems):
    for genome, space in problems:
        repair = registry.operator("repair", name)
        (once,) = repair(Individual(genome), **space)
        assert list(repair(Individual(once), **space)[0]) == list(once)


@pytest.mark.parametrize("name", NAMES)
def test_the_weighted_mean_of_real_genes_hits_the_target(name, problems):
    for genome, space in problems:
        weights = space["budget"].weights
        target = (sum(weights) - space["budget"].limit) / sum(weights)
        (found,) = registry.operator("repair", name)(Individual(genome), **space)
        mean = sum(gene * weight for gene, weight in zip(found, weights, strict=True)) / sum(weights)
        assert mean == pytest.approx(target, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_no_budget_no_limit_and_a_limit_out_of_reach_are_refused(name):
    repair, genes = registry.operator("repair", name), Genes.real("a", 0.0, 1.0)
    for budget, words in [
        (None, "has no budget"),
        (Additive(genes, [1.0], None), "no limit to keep"),
        (Additive(genes, [1.0], 1.1), "out of reach"),
        (Additive(genes, [1.0], float("nan")), "out of reach"),
    ]:
        with pytest.raises(ValueError, match=words):
            repair(Individual([0.5]), genes=genes, budget=budget)
