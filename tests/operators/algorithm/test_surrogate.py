import math
import random

import pytest

from evoprune.operators.algorithm.surrogate import _Known, _regression, surrogate
from tests.operators.algorithm.conftest import GENES, TARGET, best_allocation, drive, loss

START = [[TARGET] * GENES]


def test_a_regression_on_enough_scores_ranks_as_a_quadratic_does():
    rng = random.Random(0)
    slopes, bends = ([rng.uniform(-1, 1) for _ in range(6)] for _ in range(2))

    def truth(genome):
        return sum(a * g + b * g * g for a, b, g in zip(slopes, bends, genome, strict=True))

    genomes = [[rng.random() for _ in range(6)] for _ in range(60)]
    known = [_Known(genome, math.exp(truth(genome) + 5.0 * (n % 2)), float(n % 2)) for n, genome in enumerate(genomes)]
    known.append(_Known(genomes[0], math.inf, 0.0))
    best = min(genomes[::2], key=truth)  # as in a search: the best of those scored on all the data
    predict = _regression(known, best, 1e-9)
    for genome in ([rng.random() for _ in range(6)] for _ in range(5)):
        assert predict(genome) == pytest.approx(truth(genome) - truth(best), abs=1e-4)


def test_what_is_not_scored_costs_nothing(toolbox):
    random.seed(0)
    _, requests = drive(surrogate(toolbox, initial_genomes=START, pool=50, offspring=6, survivors=2, screening=0.25), 3)
    assert [(len(r.individuals), r.fidelity) for r in requests] == [(1, 1.0)] + 2 * [(6, 0.25), (2, 1.0)]


def test_choosing_among_mutants_beats_taking_the_first(toolbox):
    """The same number of scores, on a loss that the regression can learn."""

    def excess(pool, seed):
        random.seed(seed)
        populations, _ = drive(surrogate(toolbox, initial_genomes=START, pool=pool), 12)
        return populations[-1][0][1] - loss(best_allocation())

    chosen, first = (sorted(excess(pool, seed) for seed in range(5)) for pool in (8, 1))
    assert chosen[2] < 0.7 * first[2]
