import math
import random
from fractions import Fraction

import pytest

from evoprune.interfaces.budget import Additive, solve
from evoprune.interfaces.genes import Gene, Genes
from evoprune.testing import check_budget
from evoprune.testing.operators import budgets
from evoprune.testing.spaces import Monotone

GENES = Genes([Gene("a"), Gene.of_levels("b", range(4)), Gene("c", -1.0, 3.0), Gene.of_levels("d", "xyz")])
PRICES = [-5.0, [0.0, 1.5, 4.0, 4.0], 2.0, [9.0, 3.0, 1.0]]


def slowly(genome):
    """What a genome of GENES spends, in exact fractions."""
    total = Fraction(7)
    for value, price in zip(map(Fraction, genome), PRICES, strict=True):
        if isinstance(price, float):
            total += value * Fraction(price)
        else:
            below = min(math.floor(value), len(price) - 2)
            total += Fraction(price[below]) + (value - below) * (Fraction(price[below + 1]) - Fraction(price[below]))
    return total


def test_an_additive_budget_is_what_fractions_say_at_levels_and_between():
    rng = random.Random(1)
    budget = Additive(GENES, PRICES, 10.0, fixed=7.0)
    for _ in range(200):
        genome = [rng.uniform(gene.low, gene.up) for gene in GENES]
        assert budget.spent(genome) == pytest.approx(float(slowly(genome)), rel=1e-12)
        assert budget.excess(genome) == pytest.approx(float((slowly(genome) - 10) / Fraction(5 + 4 + 8 + 8)), abs=1e-12)
        place, step = rng.randrange(4), 0.0
        other = list(genome)
        other[place] = rng.uniform(GENES[place].low, GENES[place].up)
        step = other[place] - genome[place]
        assert budget.price(genome, place, step) == pytest.approx(float(slowly(other) - slowly(genome)), abs=1e-12)


def test_least_and_most_are_those_of_all_corners():
    budget = Additive(GENES, PRICES, None, fixed=7.0)
    corners = [slowly([a, b, c, d]) for a in (0, 1) for b in (0, 3) for c in (-1, 3) for d in (0, 2)]
    assert (budget.least, budget.most) == (min(corners), max(corners))
    assert budget.span_costs == [5.0, 4.0, 8.0, 8.0]
    assert budget.directions == [1.0, -3.0, -4.0, 2.0]


@pytest.mark.parametrize("budget", list(budgets()))
def test_budgets_of_all_forms_keep_the_laws(budget):
    check_budget(budget)


def test_where_genes_depend_on_each_other_what_saves_is_seen_in_the_middle():
    genes = Genes.real("ab", 0.0, 1.0)
    budget = Monotone(genes, lambda genome: genome[0] * (1 - genome[1]), 0.3)
    check_budget(budget)
    assert (budget.least, budget.most) == (0.0, 1.0)
    assert budget.directions == [-1.0, 1.0]


def test_a_share_is_what_the_mean_of_shares_taken_away_makes_it():
    genes = Genes.real("abc", 0.0, 1.0)
    budget = Additive.at_share(genes, [-1.0, -2.0, -5.0], -0.45, fixed=8.0)
    mean = math.fsum([0.1, 2 * 0.7, 5 * 0.3]) / 8.0
    assert -budget.excess([0.1, 0.7, 0.3]) == mean - 0.45
    assert budget.limit == pytest.approx(0.55 * 8)


@pytest.mark.parametrize("limit", [-5.1, 30.0, math.nan])
def test_limits_out_of_reach_are_refused(limit):
    with pytest.raises(ValueError, match=r"out of reach: the least that can be spent is -6, the most 19"):
        Additive(GENES, PRICES, limit - 1).check_reachable()


@pytest.mark.parametrize(
    "prices", [PRICES[:3], [-5.0, [0.0, 1.0], 2.0, PRICES[3]], [-5.0, [0.0, 3.0, 1.0, 4.0], 2.0, 1.0]]
)
def test_prices_that_do_not_fit_are_refused(prices):
    with pytest.raises(ValueError, match="expected"):
        Additive(GENES, prices, 10.0)


def test_solve_finds_the_root_to_the_last_bit():
    assert solve(lambda x: x * x * x, 8.0, 0.0, 1e6) == pytest.approx(2.0, abs=1e-15)
