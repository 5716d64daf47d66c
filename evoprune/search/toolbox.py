"""Builds the DEAP toolbox, the heart of a run, from a resolved experiment."""

from __future__ import annotations

from collections.abc import Sequence

from deap import base

from evoprune.backends.evaluation import ProblemRef, evaluate
from evoprune.experiment import parameters
from evoprune.experiment.resolve import OF_EXPERIMENT, Resolved
from evoprune.individual import Individual
from evoprune.problem import Problem


def problem_ref(resolved: Resolved) -> ProblemRef:
    """What workers get to build the problem of ``resolved``."""
    experiment = resolved.experiment
    return ProblemRef(experiment.problem.use, resolved.settings.model_dump_json(), experiment.plugins)


def build(resolved: Resolved, problem: Problem) -> base.Toolbox:
    """The toolbox: ``individual``, the operators' slots and ``evaluate``.

    ``toolbox.map`` is the only seam for parallel work: a run registers its backend's map
    there. It hands genomes to ``toolbox.evaluate``, a module-level function with a small
    argument, and yields (index, evaluation) as they are ready.
    Where the experiment names no repair, ``toolbox.repair`` clips to the bounds: an
    operator of DEAP's own need not know them.
    """
    low, up = problem.bounds()
    experiment = resolved.experiment
    supplied = {
        **problem.context(),
        "low": low,
        "up": up,
        "starts": problem.starting_genomes(),
        **{name: getattr(experiment, name) for name in OF_EXPERIMENT},
    }
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda: Individual(problem.random_genome(), problem.weights))
    for slot, operator in resolved.operators.items():
        toolbox.register(slot, operator.function, **parameters.arguments(operator.parameters, supplied))
    if "repair" not in resolved.operators:
        toolbox.register("repair", _clip, low=low, up=up)
    toolbox.register("evaluate", evaluate, problem_ref(resolved))
    return toolbox


def _clip(individual: Individual, low: Sequence[float], up: Sequence[float]) -> tuple[Individual]:
    individual[:] = [min(max(gene, least), most) for gene, least, most in zip(individual, low, up, strict=True)]
    return (individual,)
