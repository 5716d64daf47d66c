"""Contract checks of operators, on genomes of all forms."""

import inspect
import math
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy
from deap import base, tools

from evoprune.console.errors import typed
from evoprune.interfaces.algorithm import Generation, Individual
from evoprune.interfaces.budget import Additive, Budget, Price
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.space import Space
from evoprune.search.scoring import preserve_random_state
from evoprune.testing.spaces import CLOSE, Monotone, require

PARENTS = {"mate": 2, "mutate": 1, "repair": 1}  # number of genomes by slot


def check_operator(slot: str, function: Callable[..., Any], space: Space | None = None, **parameters: Any) -> None:
    """Check ``function``, with the user's ``parameters``, as an operator of ``slot``; raises AssertionError.

    Genomes are of ``space``; or of one gene and of several, with fixed genes, with levels, mixed, with budgets that are
    sums or not.
    """
    require(callable(function), f"{slot}: expected a function, got {function!r}")
    pickle.loads(pickle.dumps(function))  # by which other processes get it
    with preserve_random_state():
        if slot in PARENTS and space is not None:
            _check_children_of(slot, function, space, parameters)
        elif slot in PARENTS:
            for budget in budgets():
                _check_children(slot, function, budget, parameters)
        elif slot == "algorithm" and space is not None:
            _check_algorithm(function, space, None, parameters)
        elif slot == "algorithm":
            for budget in islice(budgets(), 0, None, 3):  # of all forms and limits; algorithms are slow
                _check_algorithm(function, budget.genes, budget, parameters)
        elif slot in ("select", "survive"):
            for weight in (-1.0, 1.0):
                for size in (2, 9):
                    _check_choice(slot, function, parameters, weight, size)
        else:
            raise ValueError(f"unknown slot '{slot}'")


def budgets() -> Iterator[Budget]:
    """Budgets, each with its genes, of all forms; limits from the least to the most."""
    width, kind = Gene.of_levels("width", range(5)), Gene.of_levels("kind", "abc")
    real, fixed, wide = Gene("real"), Gene("fixed", 0.25, 0.25), Gene("wide", -2.0, 3.0)
    flag, only = Gene.of_levels("flag", [False, True]), Gene.of_levels("only", ["one"])
    forms: list[tuple[list[Gene], list[Price]]] = [
        ([real], [-3.0]),
        ([fixed], [-3.0]),
        ([real, fixed, wide], [-1.0, -2.0, -50.0]),
        ([real, wide], [4.0, -1.0]),
        ([real, Gene("free of cost")], [-2.0, 0.0]),
        ([width], [[0.0, 1.0, 4.0, 4.0, 9.0]]),
        ([only, kind], [[2.0], [7.0, 3.0, 1.0]]),
        ([width, kind, flag, Gene.of_levels("other", range(5))], [-1.0, [5.0, 2.0, 1.0], [0.0, 6.0], 2.0]),
        ([real, width, fixed, kind, wide], [3.0, [0.0, 2.0, 3.0, 7.0, 8.0], 1.0, [6.0, 3.0, 1.0], -2.0]),
    ]
    for genes, prices in forms:
        whole = Genes(genes)
        free = Additive(whole, prices, None)

        def curved(genome: Sequence[float], sums: Additive = free) -> float:
            return math.log1p(max(0.0, sums.spent(genome) - sums.least))

        for share in (0.0, 0.37, 0.8, 1.0):
            limit = (1 - share) * free.least + share * free.most
            yield Additive(whole, prices, limit)
            yield Monotone(whole, curved, math.log1p(max(0.0, limit - free.least)))


def _bound(
    function: Callable[..., Any], data: int, budget: Budget | None, params: dict[str, Any], space: Space | None = None
) -> partial[Any]:
    """Return ``function`` with the parameters that the engine supplies; ``space``: by default the budget's."""
    supplied: dict[str, Any] = {
        "population": 8, "mate_probability": 0.7, "mutate_probability": 0.7, "initial_genomes": [],
    }  # fmt: skip
    if budget is not None:
        supplied["budget"] = budget
        space = space or budget.genes
    if space is not None:
        supplied |= {"space": space, **space.supplied}
    asked = list(inspect.signature(function).parameters)[data:]
    return partial(function, **{name: supplied[name] for name in asked if name in supplied} | params)


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed)


def _check_children(slot: str, function: Callable[..., Any], budget: Budget, params: dict[str, Any]) -> None:
    genes, count = budget.genes, PARENTS[slot]
    where = f"{slot}, genes {genes.names}, a limit of {budget.limit}"
    operator = _bound(function, count, budget, params)
    bounded = bool({"genes", "budget", "low", "up"} & {*operator.keywords})

    def bred(seed: int, far: float) -> tuple[Individual, ...]:
        _seed(seed)
        drawn = [[v + random.uniform(-far, far) for v in genes.random()] for _ in range(count)]
        try:
            children = operator(*map(Individual, drawn))
        except Exception as error:
            raise AssertionError(f"{where}: it fails: {typed(error)}") from error
        require(isinstance(children, tuple), f"{where}: expected a tuple, got {type(children).__name__}")
        return children  # type: ignore[no-any-return]

    for seed in range(5):
        for far in (0.0, 3.0) if slot == "repair" else (0.0,):
            children = bred(seed, far)
            require(len(children) == count, f"{where}: expected {count} children, got {len(children)}")
            for child in children:
                require(isinstance(child, Individual), f"{where}: a child is a {type(child).__name__}")
                require(len(child) == len(genes), f"{where}: a child has {len(child)} genes")
                require(all(map(math.isfinite, child)), f"{where}: a child is {list(child)}")
            require([*map(list, bred(seed, far))] == [*map(list, children)], f"{where}: one seed, different children")
            for child in children:
                inside = all(low <= gene <= up for low, gene, up in zip(genes.low, child, genes.up, strict=True))
                require(inside or not bounded, f"{where}: a child is beyond the bounds: {list(child)}")
                if slot == "repair":
                    _check_repaired(operator, child, budget, where)
                else:
                    require(genes.allow(genes.nearest(child)), f"{where}: no genome is nearest to {list(child)}")


def _check_children_of(slot: str, function: Callable[..., Any], space: Space, parameters: dict[str, Any]) -> None:
    count = PARENTS[slot]
    operator = space.adapted(slot, _bound(function, count, None, parameters, space))

    def bred(seed: int) -> list[tuple[Any, ...]]:
        _seed(seed)
        children = tuple(operator(*(space.individual(space.random()) for _ in range(count))))
        require(len(children) == count, f"{slot}: expected {count} children, got {len(children)}")
        kind = type(space.individual(space.random()))
        require(all(isinstance(child, kind) for child in children), f"{slot}: a child is no {kind.__name__}")
        return [child.genome for child in children]

    for seed in range(30):
        genomes = bred(seed)
        require(genomes == bred(seed), f"{slot}: one seed, different children")
        for genome in genomes:
            require(space.allow(genome), f"{slot}: a child is not allowed: {genome}")


def _check_repaired(operator: partial[Any], child: Individual, budget: Budget, where: str) -> None:
    genes, excess = budget.genes, budget.excess(child)
    require(genes.allow(child), f"{where}: a repaired genome is not allowed: {list(child)}")
    require(excess <= CLOSE, f"{where}: a repaired genome is above the limit, by a share of {excess}")
    above = bool(genes.with_levels) or excess >= -CLOSE
    require(above, f"{where}: a genome without levels is below the limit: {excess}")
    (again,) = operator(Individual(child))
    same = all(abs(a - b) <= CLOSE for a, b in zip(again, child, strict=True))
    require(same, f"{where}: a repaired genome changes when it is repaired again: {list(child)}, {list(again)}")


def _check_choice(slot: str, function: Callable[..., Any], params: dict[str, Any], weight: float, size: int) -> None:
    random.seed(size)
    people = [Individual([random.random()], (weight,)) for _ in range(size)]
    for person in people:
        person.fitness.values = (random.choice([random.random(), -weight * math.inf, 0.5]),)
    for more in ((1,), (2,), (size,)) if slot == "select" else ((),):
        operator = _bound(function, 1 + len(more), None, params)
        _seed(8)
        chosen = operator(people, *more)
        _seed(8)
        places = [id(person) for person in chosen]
        require(places == [id(person) for person in operator(people, *more)], f"{slot}: one seed, different choices")
        require({*places} <= {id(person) for person in people}, f"{slot}: it returns others than it was given")
        if more:
            require(len(chosen) == more[0], f"{slot}: asked for {more[0]}, it returns {len(chosen)}")
            continue
        require(1 <= len(chosen) < size, f"{slot}: of {size}, {len(chosen)} survive; no place is left")
        best = max(person.fitness for person in people)
        require(max(person.fitness for person in chosen) == best, f"{slot}: the best is lost")


def _check_algorithm(function: Callable[..., Any], space: Space, budget: Budget | None, params: dict[str, Any]) -> None:
    first, second = (_populations(_bound(function, 1, budget, params, space), space) for _ in range(2))
    require(first == second, "algorithm: one seed, different populations")


def _populations(algorithm: Callable[..., Any], space: Space) -> list[list[tuple[Any, ...]]]:
    """The populations of three generations."""
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda genome=None: space.individual(genome or space.random()))
    toolbox.register("select", tools.selTournament, tournsize=2)
    toolbox.register("mate", lambda one, other: (other, one))
    toolbox.register("mutate", lambda _: (space.individual(space.random()),))
    toolbox.register("repair", space.adapted("repair", None))
    toolbox.register("survive", lambda people: tools.selBest(people, len(people) // 2))
    _seed(1)
    full: set[tuple[Any, ...]] = set()
    populations: list[list[tuple[Any, ...]]] = []
    number = 0
    for step in algorithm(toolbox):
        if isinstance(step, Generation):
            populations.append([person.genome for person in step.population])
            require({*populations[-1]} <= full, "algorithm: a generation is not scored on all data")
            if len(populations) == 3:
                break
            continue
        require(0 < step.fidelity <= 1 and bool(step.individuals), f"algorithm: it asks for {step}")
        for person in step.individuals:
            require(space.allow(person.genome), f"algorithm: it asks for a genome that is not allowed: {person.genome}")
            person.fitness.values = (random.Random(repr(person.genome)).random(),)
            person.ident, number = number, number + 1
        full |= {person.genome for person in step.individuals} if step.fidelity == 1 else set()
    return populations
