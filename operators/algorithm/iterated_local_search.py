"""Local search by mutation, which leaves local optima by a stronger one."""

from deap import base

from evoprune import Algorithm, Evaluate, Generation, Individual
from evoprune.operators.algorithm.breeding import Genomes, advance, first_population, fittest, mutant, repaired

_KICK = 2  # mutations in a row that leave a local optimum; with more, good parts are lost


def iterated_local_search(toolbox: base.Toolbox, *, population: int, initial_genomes: Genomes) -> Algorithm:
    """Climb by mutants, and begin anew near the best after a local optimum.

    Lourenço, Martin and Stützle, "Iterated local search", Handbook of Metaheuristics, 2003. ``population`` mutants
    of the current genome are scored at once; the best of them replaces it unless it is worse. It counts as a local
    optimum after as many failures as pairs of genes: a swap of two has half as many outcomes. ::

        current = best = the best of the first genomes
        for each generation:
            children = mutants of current; score them
            current  = the best of children and current; a child among equals
            after len(genome)**2 children without an improvement:
                current = the best of ``population`` genomes, mutated twice from best
    """
    people = first_population(toolbox, max(1, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    (best,) = (current,) = fittest(people, 1)
    yield Generation([best])
    while True:
        failures = 0
        while failures < len(current) ** 2:
            children = [mutant(toolbox, current) for _ in range(population)]
            best = yield from advance([best], children)
            (leader,) = fittest([*children, current], 1)
            failures = 0 if leader.fitness > current.fitness else failures + population
            current = leader
        (best,) = fittest([current, best], 1)
        children = [_kicked(toolbox, best) for _ in range(population)]
        best = yield from advance([best], children)
        (current,) = fittest(children, 1)


def _kicked(toolbox: base.Toolbox, parent: Individual) -> Individual:
    child = parent.child()
    for _ in range(_KICK):
        (child,) = toolbox.mutate(child)
    return repaired(toolbox, child)
