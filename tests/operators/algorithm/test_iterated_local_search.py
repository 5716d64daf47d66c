import math
import random
import statistics
from functools import partial
from operator import ne

from deap import base

from evoprune import Individual, Permutation, Sequence
from evoprune.operators.algorithm.breeding import mutant
from evoprune.operators.algorithm.iterated_local_search import _OrderModel, iterated_local_search
from evoprune.operators.mutation.edit import edit
from evoprune.operators.mutation.rearrange import rearrange
from tests.operators.algorithm.conftest import drive

SIZE, CHILDREN = 8, 10


def tools() -> base.Toolbox:
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda genome=None: Individual(genome or random.sample(range(SIZE), SIZE)))
    toolbox.register("mutate", rearrange)
    toolbox.register("repair", lambda individual: (individual,))
    return toolbox


def displacement(genome, fidelity):
    return float(sum(abs(place - gene) for place, gene in enumerate(genome)))


def search(generations, score=displacement, initial_genomes=()):
    random.seed(3)
    algorithm = iterated_local_search(
        tools(), population=CHILDREN, initial_genomes=initial_genomes, space=Permutation(SIZE)
    )
    return drive(algorithm, generations, score)


def changed(genome, parent):
    return sum(one != other for one, other in zip(genome, parent, strict=True))


def test_candidates_are_permutations_and_the_order_is_found():
    populations, requests = search(100)
    assert all(sorted(one) == [*range(SIZE)] for request in requests for one in request.individuals)
    assert populations[-1] == [([*range(SIZE)], 0.0)]


def test_the_best_is_never_lost():
    best = [population[0][1] for population in search(100)[0]]
    assert best == sorted(best, reverse=True)


def test_one_seed_gives_one_search():
    assert search(30)[0] == search(30)[0]


def test_all_children_of_a_generation_are_asked_for_at_once():
    requests = search(3, lambda genome, fidelity: 0.0)[1]
    assert [len(request.individuals) for request in requests] == [1, CHILDREN, CHILDREN]


def test_children_that_are_equally_good_become_parents():
    """Else a search could not cross a plateau."""
    _, requests = search(4, lambda genome, fidelity: 0.0)
    first = [requests[at].individuals[0].ident for at in (0, 1, 2)]
    assert [set(request.individuals[0].parents) for request in requests[1:]] == [{ident} for ident in first]


def test_after_a_local_optimum_it_begins_near_the_best_and_leaves_it():
    start = [*range(SIZE)]
    _, requests = search(12, initial_genomes=[start])  # the best of all: every child fails
    climbs = -(-(SIZE**2) // (2 * CHILDREN))
    parents = [{ident for one in request.individuals for ident in one.parents} for request in requests[1:]]
    assert parents[: climbs + 1] == [{0}] * (climbs + 1)  # the last one: kicked from the best
    assert parents[climbs + 1] != {0}
    assert 0 not in parents[climbs + 1]


def test_the_model_learns_the_length_of_a_tour():
    random.seed(1)
    cities = [(random.random(), random.random()) for _ in range(SIZE)]

    def length(order):
        return sum(
            math.dist(cities[one], cities[other]) for one, other in zip(order, order[1:] + order[:1], strict=True)
        )

    model = _OrderModel(SIZE, 0.0)
    for _ in range(200):
        tours = [Individual(random.sample(range(SIZE), SIZE)) for _ in range(10)]
        for tour in tours:
            tour.fitness.values = (length(tour),)
        model.learn(tours)
    parent = tours[0]
    chosen = [length(model.least(tools(), parent)) for _ in range(30)]
    drawn = [length(mutant(tools(), parent)) for _ in range(300)]
    assert max(chosen) < statistics.median(drawn)


def test_a_sequence_of_the_right_length_is_found():
    wanted, space = (3, 1, 4, 1, 5, 9), Sequence(range(10), 1, 12)
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda genome=None: Individual(genome or space.random()))
    toolbox.register("mutate", space.adapted("mutate", partial(edit, low=0, up=9)))
    toolbox.register("repair", lambda individual: (individual,))

    def differences(genome, fidelity):
        return float(abs(len(genome) - len(wanted)) + sum(map(ne, genome, wanted)))

    random.seed(3)
    algorithm = iterated_local_search(toolbox, population=CHILDREN, initial_genomes=(), space=space)
    populations, _ = drive(algorithm, 200, differences)
    assert populations[-1] == [([*wanted], 0.0)]
