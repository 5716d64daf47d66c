"""The DEAP toolbox, the heart of a run, built from a resolved experiment and tried before the run starts."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deap import base

from evoprune.backends.evaluation import ProblemRef, evaluate, evaluate_together, judge
from evoprune.errors import InputError
from evoprune.experiment import parameters
from evoprune.experiment.resolve import FROM_EXPERIMENT, Resolved, check_survivors, tried
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.problem import Problem


def problem_ref(resolved: Resolved, measured: Mapping[str, Any] | None = None) -> ProblemRef:
    """Reference by which workers build the problem of ``resolved``, with its measurements, if there are any."""
    experiment = resolved.experiment
    return ProblemRef(
        experiment.problem.use,
        resolved.settings.model_dump_json(),
        experiment.plugins,
        resolved.plugin_folders,
        json.dumps(measured, sort_keys=True) if measured else "",
    )


def build(resolved: Resolved, problem: Problem, ref: ProblemRef) -> base.Toolbox:
    """The toolbox: ``individual``, the operators' slots, and the functions that score; ``ref``: of ``problem``.

    A run registers its backend's map as ``toolbox.map``, which yields (index, evaluation) as they are ready. Without a
    repair, ``toolbox.repair`` moves each gene to its nearest possible value. Raises :class:`evoprune.InputError` where
    the problem lacks an operator's budget or prior, or where no genome meets the limit.
    """
    supplied = _supplied(resolved, problem)
    budget = supplied["budget"]
    if "repair" in resolved.operators and budget and budget.limit is not None:
        try:
            budget.check_reachable()
        except ValueError as error:
            raise InputError(f"problem: {error}") from None
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda: Individual(problem.random_genome(), problem.weights))
    for slot, operator in resolved.operators.items():
        for name in parameters.lacking(operator.parameters, supplied):
            raise InputError(
                f"operators.{slot}: '{operator.use}' needs a {name}, and the problem "
                f"'{resolved.experiment.problem.use}', as it is set up, has none"
            )
        toolbox.register(slot, operator.function, **parameters.arguments(operator.parameters, supplied))
    if supplied["genes"].unordered:
        toolbox.register("mate", _mate_by_options, toolbox.mate, supplied["genes"].unordered)
    if "repair" not in resolved.operators:
        toolbox.register("repair", _to_nearest, genes=supplied["genes"])
    toolbox.register("evaluate", evaluate, ref)
    toolbox.register("evaluate_together", evaluate_together, ref)
    toolbox.register("judge", judge, ref)
    return toolbox


def _supplied(resolved: Resolved, problem: Problem) -> dict[str, Any]:
    """The value of each name in :data:`evoprune.experiment.resolve.ALWAYS_SUPPLIED`."""
    genes = problem.genes
    return {
        "genes": genes,
        "budget": problem.budget,
        "low": genes.low,
        "up": genes.up,
        "prior": problem.prior(),
        "initial_genomes": problem.initial_genomes(),
        **{name: getattr(resolved.experiment, name) for name in FROM_EXPERIMENT},
    }


def _mate_by_options(
    mate: Callable[[Individual, Individual], tuple[Individual, Individual]], unordered: Sequence[int],
    first: Individual, second: Individual,
) -> tuple[Individual, Individual]:  # fmt: skip
    """``mate``, but where options have no order each child has that of one parent."""
    options = [random.sample((first[place], second[place]), 2) for place in unordered]
    first, second = mate(first, second)
    for place, (one, other) in zip(unordered, options, strict=True):
        first[place], second[place] = one, other
    return first, second


def _to_nearest(individual: Individual, genes: Genes) -> tuple[Individual]:
    individual[:] = genes.nearest(individual)
    return (individual,)


def try_operators(toolbox: base.Toolbox, resolved: Resolved) -> None:
    """Call every operator once; raise :class:`InputError` for one that fails. Draws random numbers."""
    size = resolved.experiment.population
    population = [toolbox.individual() for _ in range(size)]
    for rank, individual in enumerate(population):
        individual.fitness.values = [float(rank)] * len(individual.fitness.weights)
    first, second = population[:2]
    names = {slot: f"operators.{slot}: '{operator.use}'" for slot, operator in resolved.operators.items()}
    calls: dict[str, Callable[[], list[Any]]] = {
        "select": lambda: list(toolbox.select(population, 2)),
        "mate": lambda: list(toolbox.mate(first.child(), second.child())),
        "mutate": lambda: list(toolbox.mutate(first.child())),
        "repair": lambda: list(toolbox.repair(first.child())),
    }
    for slot, call in calls.items():
        if slot not in names:
            continue
        expected = 2 if slot in {"select", "mate"} else 1
        found = tried(names[slot], call)
        if len(found) != expected or not all(isinstance(i, Individual) and len(i) == len(first) for i in found):
            raise InputError(
                f"{names[slot]} does not return {expected} individual(s) of {len(first)} genes, as {slot} must"
            )
    check_survivors(resolved.operators["survive"].use, toolbox.survive, size)
    asked = tried(names["algorithm"], lambda: next(toolbox.algorithm(toolbox)))
    if not isinstance(asked, Evaluate) or not asked.individuals:
        raise InputError(f"{names['algorithm']} does not begin by asking for scores, as an algorithm must")
