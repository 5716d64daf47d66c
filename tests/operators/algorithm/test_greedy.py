from itertools import combinations

from evoprune import Additive, Gene, Genes
from evoprune.operators.algorithm.greedy import greedy
from tests.operators.algorithm.conftest import drive, toolbox_of

DROP = Genes([Gene.of_levels(str(place), ["keep", "drop"]) for place in range(6)])
SIZES = [1.0, 1.0, 2.0, 2.0, 1.0, 2.0]
HARM = [3.0, 1.0, 5.0, 1.5, 4.0, 9.0]
BUDGET = Additive(DROP, [[0.0, -size] for size in SIZES], 6.0, fixed=9.0)
"""At least 3 of 9 go."""


def level_loss(genome, fidelity=1.0):
    """Dropping 1 and 3 together costs 10 more than both alone, so the greedy result, which has both, is not best."""
    alone = sum(h * value for h, value in zip(HARM, genome, strict=True))
    return alone + 10 * genome[1] * genome[3]


def test_each_step_takes_the_least_loss_for_what_it_saves_of_the_cheapest_measured_again():
    sums = lambda genome, _: sum(h * value for h, value in zip(HARM, genome, strict=True))  # noqa: E731
    algorithm = greedy(toolbox_of(DROP, BUDGET), budget=BUDGET, initial_genomes=[], remeasured=2)
    _, requests = drive(algorithm, 2, sums)
    _, first, second, last = requests
    assert [request.probe for request in requests] == [False, True, True, False]
    assert [list(one) for one in first.individuals[1:]] == [[float(at == drop) for at in range(6)] for drop in range(6)]
    assert [list(one) for one in second.individuals] == [
        [0, 0, 0, 1.0, 0, 0], [0, 1.0, 0, 1.0, 0, 0], [1.0, 0, 0, 1.0, 0, 0],
    ]  # fmt: skip
    assert [list(one) for one in last.individuals] == [[0, 1.0, 0, 1.0, 0, 0]]


def test_the_first_exchange_is_the_one_that_measured_steps_promise_the_most_of():
    algorithm = greedy(toolbox_of(DROP, BUDGET), budget=BUDGET, initial_genomes=[], offspring=1)
    _, requests = drive(algorithm, 3, level_loss)
    *_, measured, screened = requests
    assert measured.probe
    here, *probes = measured.individuals
    steps = {
        place: level_loss(one) - level_loss(here) for one in probes for place in range(6) if one[place] != here[place]
    }
    allowed = [one for one in exchanges(list(here)) if BUDGET.excess(one) <= 0]
    promised = lambda one: sum(steps[place] for place in range(6) if one[place] != here[place])  # noqa: E731
    assert promised(list(screened.individuals[0])) == min(map(promised, allowed))


def exchanges(here):
    """All genomes with one gene more dropped and one less, and what the budget asks for beside."""
    for size in range(2, 5):
        for chosen in combinations(range(6), size):
            genome = [1 - value if place in chosen else value for place, value in enumerate(here)]
            if len({here[place] for place in chosen}) == 2:
                yield genome


def test_exchanges_find_the_best_where_the_greedy_result_is_not():
    sets = [chosen for size in range(7) for chosen in combinations(range(6), size)]
    genomes = [[float(place in chosen) for place in range(6)] for chosen in sets]
    optimum = min(level_loss(genome) for genome in genomes if BUDGET.excess(genome) <= 0)
    algorithm = greedy(toolbox_of(DROP, BUDGET), budget=BUDGET, initial_genomes=[[1.0] * 6])
    populations, requests = drive(algorithm, 30, level_loss)
    assert populations[-1][0][1] == optimum
    assert all(BUDGET.excess(one) <= 0 for request in requests if not request.probe for one in request.individuals)
