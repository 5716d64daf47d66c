"""Measure algorithms on genes with levels at equal evaluations; print a table, and assert nothing.

Run it from the project's folder; ways and options are those of :mod:`tests.benchmarks.engine`, and ``deap``:

    python -m tests.benchmarks.levels auto deap cma --seeds 10 --lines levels.jsonl
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from deap import algorithms, base, creator, tools

from evoprune import Gene, Genes
from tests.benchmarks.engine import Case, Score, main

BLOCK = 5
creator.create("Least", base.Fitness, weights=(-1.0,))
creator.create("Levels", list, fitness=creator.Least)


def bits(size: int) -> list[Gene]:
    return [Gene.integer(f"b{place}", 0, 1) for place in range(size)]


def onemax(draws: random.Random) -> Case:
    """The number of wrong bits, of a hidden string."""
    best = [draws.randrange(2) for _ in range(100)]
    return Case("onemax, 100", bits(100), lambda values: (float(sum(map(int.__ne__, values, best))),))


def traps(shuffled: bool, draws: random.Random) -> Case:
    """Twenty deceptive blocks of five bits, neighbours or ``shuffled``: less than 5 ones lead away from 5."""
    places = draws.sample(range(100), 100) if shuffled else range(100)
    blocks = [places[start : start + BLOCK] for start in range(0, 100, BLOCK)]

    def f(values: Sequence[int]) -> tuple[float]:
        ones = [sum(values[place] for place in block) for block in blocks]
        return (float(sum(0 if one == BLOCK else 1 + one for one in ones)),)

    return Case(f"traps, 100{', shuffled' if shuffled else ''}", bits(100), f)


def leading_ones(draws: random.Random) -> Case:
    """The bits after the first wrong one, of a hidden string in a hidden order."""
    best, order = [draws.randrange(2) for _ in range(50)], draws.sample(range(50), 50)

    def f(values: Sequence[int]) -> tuple[float]:
        return (50.0 - next((at for at, place in enumerate(order) if values[place] != best[place]), 50),)

    return Case("leading ones, 50", bits(50), f)


def packing(draws: random.Random) -> Case:
    """A knapsack of 100 items, with a penalty above its capacity: the percentage of the best value that is missing."""
    weights = [draws.randint(1, 100) for _ in range(100)]
    worths = [weight + draws.randint(1, 50) for weight in weights]
    capacity, penalty = sum(weights) // 2, max(map(float.__truediv__, map(float, worths), map(float, weights)))
    most = [0] * (capacity + 1)
    for weight, worth in zip(weights, worths, strict=True):
        most = [max(best, most[room - weight] + worth if room >= weight else 0) for room, best in enumerate(most)]

    def f(values: Sequence[int]) -> tuple[float]:
        worth, excess = sum(map(int.__mul__, values, worths)), sum(map(int.__mul__, values, weights)) - capacity
        return (100 - 100 * (worth - penalty * max(0, excess)) / most[-1],)

    return Case("knapsack, 100", bits(100), f)


def whole(rugged: bool, draws: random.Random) -> Case:
    """Thirty numbers of 0 to 20: the squared distance to a hidden point; ``rugged``: with a hill every three."""
    best = [draws.randint(0, 20) for _ in range(30)]
    hill = [10 * (1 - math.cos(2 * math.pi * far / 3)) if rugged else 0.0 for far in range(21)]
    costs = [far**2 + height for far, height in enumerate(hill)]

    def f(values: Sequence[int]) -> tuple[float]:
        return (sum(costs[abs(value - by)] for value, by in zip(values, best, strict=True)),)

    return Case(f"integers, 30{', rugged' if rugged else ''}", [Gene.integer(f"n{n}", 0, 20) for n in range(30)], f)


def nk(draws: random.Random) -> Case:
    """An NK landscape: 40 genes of 4 options, each with a cost by its own and 3 others' options; their mean."""
    others = [[place, *draws.sample([each for each in range(40) if each != place], 3)] for place in range(40)]
    costs = [{options: draws.random() for options in itertools.product("abcd", repeat=4)} for _ in others]

    def f(values: Sequence[str]) -> tuple[float]:
        parts = (cost[tuple(values[each] for each in own)] for cost, own in zip(costs, others, strict=True))
        return (sum(parts) / 40,)

    return Case("nk, 40", [Gene.choice(f"c{place}", "abcd") for place in range(40)], f)


def cases(seed: int) -> Iterator[Case]:
    makers: list[Callable[[random.Random], Case]] = [
        onemax, partial(traps, False), partial(traps, True), leading_ones, packing, partial(whole, False),
        partial(whole, True), nk,
    ]  # fmt: skip
    for make in makers:
        yield make(random.Random(f"case {seed}"))


def deap(score: Score, seed: int) -> None:
    """DEAP's example of onemax, with a mutation that draws other levels; every call of the function counts."""
    random.seed(seed)
    genes = Genes(score.case.genes)
    toolbox = base.Toolbox()
    toolbox.register("individual", lambda: creator.Levels(genes.random()))
    toolbox.register("evaluate", lambda genome: score(genes.chosen(genome))[0])
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutUniformInt, low=[0] * len(genes), up=[*map(int, genes.up)], indpb=0.05)
    if max(genes.up) == 1:
        toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    population = tools.initRepeat(list, toolbox.individual, 300)
    algorithms.eaSimple(population, toolbox, cxpb=0.5, mutpb=0.2, ngen=10**6, verbose=False)


if __name__ == "__main__":
    main(__doc__, cases, {"deap": deap}, [5000, 20000])
