"""Calls each operator once before a run starts: signatures do not show all faults."""

from __future__ import annotations

from deap import base

from evoprune.errors import InputError
from evoprune.experiment.resolve import Resolved, check_survivors
from evoprune.interfaces.algorithm import Evaluate, Individual


def _try_algorithm(toolbox: base.Toolbox, use: str) -> None:
    name = f"operators.algorithm: '{use}'"
    try:
        first = next(toolbox.algorithm(toolbox))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(first, Evaluate) or not first.individuals:
        raise InputError(f"{name} does not begin by asking for scores, as an algorithm must")


def try_operators(toolbox: base.Toolbox, resolved: Resolved) -> None:
    """Call every operator once; raise :class:`InputError` for one that fails or returns what does not fit its slot.

    Draws random numbers.
    """
    population = [toolbox.individual() for _ in range(resolved.experiment.population)]
    for rank, individual in enumerate(population):
        individual.fitness.values = [float(rank)] * len(individual.fitness.weights)
    first, second = population[:2]
    calls = {
        "select": lambda: toolbox.select(population, 2),
        "mate": lambda: toolbox.mate(first.child(), second.child()),
        "mutate": lambda: toolbox.mutate(first.child()),
        "repair": lambda: toolbox.repair(first.child()),
    }
    for slot, call in calls.items():
        if slot not in resolved.operators:
            continue
        name = f"operators.{slot}: '{resolved.operators[slot].use}'"
        expected = 2 if slot in {"select", "mate"} else 1
        try:
            found = list(call())
        except Exception as error:
            raise InputError(f"{name} fails: {type(error).__name__}: {error}") from error
        if len(found) != expected or not all(isinstance(i, Individual) and len(i) == len(first) for i in found):
            raise InputError(f"{name} does not return {expected} individual(s) of {len(first)} genes, as {slot} must")
    check_survivors(resolved.operators["survive"].use, toolbox.survive, resolved.experiment.population)
    _try_algorithm(toolbox, resolved.operators["algorithm"].use)
