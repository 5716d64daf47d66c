import math
import random

from evoprune import Evaluate, Genes
from evoprune.operators.algorithm.response_surface import response_surface
from tests.operators.algorithm.conftest import drive, toolbox_of

SPAN = 10.0


def _waves(genome):
    return sum(value * value + 10 * (1 - math.cos(2 * math.pi * value)) for value in genome)


def _searched(score, generations):
    genes = Genes.real("ab", -SPAN / 2, SPAN / 2)
    steps = response_surface(toolbox_of(genes), population=10, initial_genomes=[], genes=genes)
    return drive(steps, generations, lambda genome, _: score(genome) + random.gauss(0.0, 1.0))


def _widths(populations):
    """The span of the first gene in each generation."""
    return [max(one[0] for one, _ in each) - min(one[0] for one, _ in each) for each in populations]


def test_it_starts_again_everywhere_once_the_region_stays_small_and_scores_the_former_centre_still():
    populations, requests = _searched(_waves, 300)
    widths = _widths(populations)
    narrow = next(place for place, width in enumerate(widths) if width < 0.2 * SPAN)
    again = next(place for place in range(narrow, 300) if widths[place] > 0.6 * SPAN)
    scored = [tuple(one) for request in requests[again:] for one in request.individuals]
    assert max(scored.count(genome) for genome in {*scored}) >= len(requests) - again - 1
    assert all(isinstance(request, Evaluate) for request in requests)


def test_a_quadratic_function_needs_one_descent():
    _, requests = _searched(lambda genome: sum(value * value for value in genome), 300)
    scored = [tuple(one) for request in requests for one in request.individuals]
    assert max(scored.count(genome) for genome in {*scored}) < 10
