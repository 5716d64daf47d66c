"""Time generations of each space beside DEAP's eaSimple with the same operators, in pairs.

    python -m tests.benchmarks.overhead            # a row a space: seconds of both, and their ratio

100 individuals, 50 generations, crossover and mutation of every child, tournaments of 3; functions cost microseconds.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from deap import algorithms, base, gp, tools

from evoprune import Gene, Genes, Permutation, Sequence, Space, Tree, minimize
from evoprune.operators.mutation.edit import edit
from tests.benchmarks.common import head, row

GENERATIONS, POPULATION, PAIRS = 50, 100, 7


def ascents(items: list[Any]) -> float:
    return float(sum(a > b for a, b in itertools.pairwise(items)))


def error(formula: Any) -> float:
    return float(sum((formula(x / 10) - (x / 10) ** 2) ** 2 for x in range(10)))


LEVELS = Sequence(range(10), 1, 40)
TREE = Tree(["add", "sub", "mul"], ["x"], deepest=8)
BITS = Genes([Gene.of_levels(str(place), [0, 1]) for place in range(100)])
CASES: dict[str, tuple[Space, Callable[[Any], float], dict[str, Any], dict[str, Any]]] = {
    "permutation": (Permutation(50), ascents, {"use": "ordered"}, {"use": "inversion"}),
    "sequence": (LEVELS, lambda items: abs(sum(items) - 99.0), {"use": "messy"}, {"use": "edit"}),
    "tree": (TREE, error, {"use": "subtree"}, {"use": "subtree"}),
    "genes": (
        BITS,
        lambda bits: -float(sum(bits)),
        {"use": "uniform"},
        {"use": "deap.tools:mutFlipBit", "indpb": 0.01},
    ),
}


def ours(name: str, seed: int) -> None:
    space, function, mate, mutate = CASES[name]
    minimize(
        function, space, evaluations=10**9, population=POPULATION, seed=seed, algorithm="generational",
        operators={"select": "tournament", "mate": mate, "mutate": mutate, "survive": "elitist"},
        callback=lambda state: state.generation == GENERATIONS,
    )  # fmt: skip


def deap(name: str, seed: int) -> None:
    space, function, *_ = CASES[name]
    random.seed(seed)
    toolbox = base.Toolbox()
    kind = type(space.individual(space.random()))
    nodes = (lambda: space.individual(space.random())) if name == "tree" else lambda: kind(space.random())
    toolbox.register("population", tools.initRepeat, list, nodes)
    toolbox.register("select", tools.selTournament, tournsize=3)
    if name == "tree":
        toolbox.register("mate", gp.cxOnePoint)
        toolbox.register("mutate", gp.mutUniform, **space.supplied)
        limit = gp.staticLimit(lambda tree: tree.height, TREE.deepest)
        toolbox.decorate("mate", limit)
        toolbox.decorate("mutate", limit)
        toolbox.register("evaluate", lambda tree: (function(gp.compile(tree, TREE.set)),))
    else:
        mates = {"permutation": tools.cxOrdered, "sequence": tools.cxMessyOnePoint}
        toolbox.register("mate", mates.get(name, lambda a, b: tools.cxUniform(a, b, 0.5)))
        mutations = {
            "permutation": tools.mutInversion,
            "sequence": lambda one: edit(one, low=0, up=9) if one else (one,),
        }
        toolbox.register("mutate", mutations.get(name, lambda one: tools.mutFlipBit(one, 0.01)))
        toolbox.register("evaluate", lambda one: (function(one),))
    algorithms.eaSimple(toolbox.population(POPULATION), toolbox, 1.0, 1.0, GENERATIONS, verbose=False)


def seconds(run: Callable[[str, int], None], name: str, seed: int) -> float:
    begun = time.perf_counter()
    run(name, seed)
    return time.perf_counter() - begun


def main() -> None:
    print(head("space", "DEAP, s", "evoprune, s", "ratio: median", "least", "most"), flush=True)
    for name in CASES:
        pairs = [(seconds(deap, name, seed), seconds(ours, name, seed)) for seed in range(PAIRS + 1)][1:]
        ratios = sorted(ours / deap for deap, ours in pairs)
        both = [f"{statistics.median(times):.2f}" for times in zip(*pairs, strict=True)]
        print(
            row(name, *both, *(f"{ratio:.2f}" for ratio in (statistics.median(ratios), ratios[0], ratios[-1]))),
            flush=True,
        )


if __name__ == "__main__":
    main()
