"""(mu + lambda) search that screens many children on few tokens."""

import random
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Evaluate, Generation
from evoprune.operators.algorithm.breeding import Count, Genomes, Share, first_population, fittest, mutant, screened


def level_switching(
    toolbox: base.Toolbox,
    *,
    initial_genomes: Genomes,
    parents: Annotated[Count, Field(description="mu: individuals that live on")] = 1,
    offspring: Annotated[Count, Field(description="lambda: children in a generation")] = 16,
    survivors: Annotated[Count, Field(description="children left after the screening, scored on all data")] = 2,
    screening: Annotated[Share, Field(description="share of the data that children are screened on")] = 0.125,
) -> Algorithm:
    """Mutate the best, screen the children on a part of the data, score the survivors on all.

    EvoPress (Sieberling et al., ICML 2025, algorithm 1) with one stage of screening, when the mutation is ``exchange``.
    """
    people = first_population(toolbox, max(parents, len(initial_genomes)), initial_genomes)
    yield Evaluate(people)
    people = fittest(people, parents)
    while True:
        yield Generation(people)
        children = [mutant(toolbox, random.choice(people)) for _ in range(offspring)]
        finalists = yield from screened(children, survivors, screening)
        yield Evaluate(finalists)
        people = fittest([*people, *finalists], parents)
