"""(mu + lambda) search that screens many children on few tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Annotated

from deap import base
from pydantic import Field

from evoprune import Algorithm, Generation, Score
from operators.algorithm.breeding import first_population, fittest
from operators.algorithm.learning import Learning


def level_switching(
    toolbox: base.Toolbox,
    *,
    starts: Sequence[Sequence[float]],
    parents: Annotated[int, Field(ge=1, description="mu: individuals that live on")] = 1,
    offspring: Annotated[int, Field(ge=1, description="lambda: children in a generation")] = 16,
    survivors: Annotated[int, Field(ge=1, description="children left after the screening, scored on all data")] = 2,
    screening: Annotated[
        float, Field(gt=0, le=1, description="share of the data that children are screened on")
    ] = 0.125,
    learning: Annotated[
        float, Field(ge=0, description="strength with which exchange is drawn to the changes that helped so far")
    ] = 0.0,
) -> Algorithm:
    """Mutate the best, screen the children on a part of the data, score the survivors on all.

    EvoPress (Sieberling et al., ICML 2025, algorithm 1) with one stage of screening, when
    ``toolbox.mutate`` is ``exchange``. A parent is replaced only by a better child, so the
    best fitness never rises.

    With ``learning``, what earlier children were worth takes the place of the mutation's advice:
    see :class:`operators.algorithm.learning.Learning`.
    """
    learnt = Learning(toolbox, learning)
    screens = screening < 1 and survivors < offspring
    people = first_population(toolbox, max(parents, len(starts)), starts)
    yield Score(people)
    people = fittest(people, parents)
    while True:
        yield Generation(people)
        children = [learnt.mutant(random.choice(people)) for _ in range(offspring)]
        yield Score(children, screening if screens else 1.0)
        learnt.note()
        if screens:
            children = fittest(children, survivors)
            yield Score(children)
        people = fittest([*people, *children], parents)
