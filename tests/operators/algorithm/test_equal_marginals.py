import math

import pytest

from evoprune import Additive, Gene, Genes, Individual
from evoprune.operators.algorithm.equal_marginals import equal_marginals, log_marginals
from tests.operators.algorithm.conftest import (
    COSTS,
    GENES,
    RATE,
    TARGET,
    WEIGHTS,
    best_allocation,
    drive,
    loss,
    space_of,
)

SPACE = {"budget": space_of()["budget"], "initial_genomes": [[TARGET] * GENES]}


def test_one_measurement_finds_the_best_allocation_of_exponential_costs(toolbox):
    """With the step that belongs to their rate of growth, marginals are equal after a single move."""
    populations, _ = drive(equal_marginals(toolbox, **SPACE, probe=1e-4, step=1 / RATE), 2)
    ((genome, value),) = populations[1]
    assert genome == pytest.approx(best_allocation(), abs=1e-3)
    assert value == pytest.approx(loss(best_allocation()), rel=1e-4)


def test_it_rests_from_measuring_when_a_measurement_brought_nothing(toolbox):
    """At the optimum nothing helps: a measurement, mutants for ``patience`` generations, and so on with twice that."""
    space = SPACE | {"initial_genomes": [best_allocation()]}
    _, requests = drive(equal_marginals(toolbox, **space, patience=1, mutants=5, mutant_screening=0.5), 8)
    sizes = [len(request.individuals) for request in requests if request.fidelity < 1]
    assert sizes == [GENES + 1, 6, 5, GENES + 1, 6, 5, 5, GENES + 1, 6, 5]
    assert {request.fidelity for request in requests if len(request.individuals) == 5} == {0.5}


def test_a_gene_that_costs_nothing_more_at_its_bound_is_brought_back_if_it_was_dear_to_get_there(toolbox):
    """Gene 0 is all but lost, and the others are as good as they can be for that: no small change is of use."""
    costs, weights = [math.log(cost) for cost in COSTS[1:]], WEIGHTS[1:]
    mean = sum(w * cost for w, cost in zip(weights, costs, strict=True)) / sum(weights)
    rest = (TARGET * sum(WEIGHTS) - 0.9 * WEIGHTS[0]) / sum(weights)
    corner = [0.9, *(rest - (cost - mean) / RATE for cost in costs)]

    def others(genome):
        return sum(w * c * math.exp(RATE * s) for w, c, s in zip(weights, COSTS[1:], genome[1:], strict=True))

    uniform = [TARGET] * GENES
    lost = 0.5 * (others(uniform) - others(corner))

    def saturating(genome, _=1.0):
        return others(genome) + lost / (1 + math.exp(-40 * (genome[0] - 0.7)))

    assert saturating(corner) < saturating(uniform)
    populations, _ = drive(equal_marginals(toolbox, **SPACE | {"initial_genomes": [uniform, corner]}), 2, saturating)
    assert populations[0][0][0][0] == 0.9
    ((genome, value),) = populations[1]
    assert genome[0] < 0.5
    assert value < saturating(corner)


LEVELS = Genes([Gene.of_levels("plateau", range(5)), Gene.of_levels("even", range(3))])
BUDGET = Additive(LEVELS, [[0.0, 1.0, 4.0, 4.0, 9.0], [0.0, 1.0, 2.0]], 5.0)


def measured(centre, budget, loss):
    """The marginal costs, and the genomes that were scored."""
    marginals = log_marginals(Individual(centre), budget, 0.08, 1.0)
    probes = next(marginals).individuals
    for individual in probes:
        individual.fitness.values = (loss(individual),)
    with pytest.raises(StopIteration) as done:
        marginals.send(None)
    return done.value.value, [list(individual) for individual in probes]


@pytest.mark.parametrize(("level", "probe"), [(3.0, 1.0), (2.0, 1.0), (4.0, 3.0), (0.0, 1.0)])
def test_a_gene_with_levels_is_moved_until_what_it_spends_changes(level, probe):
    marginals, probes = measured([level, 1.0], BUDGET, lambda genome: 9.0 - sum(genome))
    assert probes == [[level, 1.0], [probe, 1.0], [level, 0.0]]
    assert all(map(math.isfinite, marginals))
