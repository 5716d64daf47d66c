"""Measure the search for permutations, and other libraries, on tours; print a table, and assert nothing.

Run it from the project's folder on .tsp files of TSPLIB (EUC_2D), or .csv files with rows of x and y:

    python -m tests.benchmarks.tours problems/berlin52.tsp --seeds 10 --at 20000 100000
    python -m tests.benchmarks.tours problems/berlin52.tsp --ways optuna.tpe --at 1000
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from deap import algorithms, base, tools

from evoprune import Individual, Permutation, minimize
from tests.benchmarks.common import head, row


class Full(Exception):
    """Ends a search."""


class Length:
    """Lengths of tours; all new ones are counted and kept, as repeated ones are free in evoprune."""

    def __init__(self, cities: Sequence[Sequence[float]], most: int) -> None:
        self.distances = [[math.floor(math.dist(one, other) + 0.5) for other in cities] for one in cities]
        self.size, self.most = len(cities), most
        self.best, self.known = list[int](), dict[tuple[int, ...], int]()
        self.calls = 0

    def __call__(self, order: Sequence[int]) -> int:
        tour, self.calls = tuple(order), self.calls + 1
        if (length := self.known.get(tour)) is None:
            pairs = zip(tour, (*tour[1:], tour[0]), strict=True)
            length = self.known[tour] = sum(self.distances[one][other] for one, other in pairs)
            self.best.append(min([length, *self.best[-1:]]))
        if len(self.best) >= self.most or self.calls >= 10 * self.most:
            raise Full
        return length


def read(path: Path) -> list[list[float]]:
    """Return the coordinates of the cities."""
    text = path.read_text()
    if path.suffix == ".csv":
        return [[float(value) for value in line.split(",")] for line in text.splitlines() if line[:1].isdigit()]
    lines = text.split("NODE_COORD_SECTION")[1].split("EOF")[0].strip().splitlines()
    return [[float(value) for value in line.split()[1:]] for line in lines]


def ours(length: Length, seed: int) -> None:
    most, length.most = length.most, 10**9  # minimize counts different genomes, too
    minimize(length, Permutation(length.size), evaluations=most, seed=seed)


def deap(length: Length, seed: int) -> None:
    """DEAP's examples/ga/tsp.py."""
    random.seed(seed)
    toolbox = base.Toolbox()
    toolbox.register("mate", tools.cxPartialyMatched)
    toolbox.register("mutate", tools.mutShuffleIndexes, indpb=0.05)
    toolbox.register("select", tools.selTournament, tournsize=3)
    toolbox.register("evaluate", lambda individual: (length(individual),))
    people = [Individual(random.sample(range(length.size), length.size)) for _ in range(300)]
    algorithms.eaSimple(people, toolbox, 0.7, 0.2, 10**6, verbose=False)


def pymoo(length: Length, seed: int) -> None:
    """The settings of pymoo's page on permutations, without its termination."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.operators.crossover.ox import OrderCrossover
    from pymoo.operators.mutation.inversion import InversionMutation
    from pymoo.operators.sampling.rnd import PermutationRandomSampling
    from pymoo.optimize import minimize

    class Tour(ElementwiseProblem):
        def __init__(self) -> None:
            super().__init__(n_var=length.size, n_obj=1, xl=0, xu=length.size, vtype=int)

        def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
            out["F"] = length(x.tolist())

    operators = {"mutation": InversionMutation(), "crossover": OrderCrossover()}
    algorithm = GA(pop_size=20, eliminate_duplicates=True, sampling=PermutationRandomSampling(), **operators)
    minimize(Tour(), algorithm, ("n_gen", 10**6), seed=seed)


def optuna(sampler: str, length: Length, seed: int) -> None:
    """Random keys: the order of real numbers. TPE takes hours for more than a few thousand."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {"tpe": optuna.samplers.TPESampler, "cma": optuna.samplers.CmaEsSampler}
    study = optuna.create_study(sampler=samplers[sampler](seed=seed))

    def keyed(trial: Any) -> float:
        keys = [trial.suggest_float(str(city), 0.0, 1.0) for city in range(length.size)]
        return length(numpy.argsort(keys).tolist())

    study.optimize(keyed, n_trials=10 * length.most)


WAYS: dict[str, Callable[[Length, int], None]] = {
    "evoprune": ours, "deap": deap, "pymoo": pymoo,
    "optuna.cma": partial(optuna, "cma"), "optuna.tpe": partial(optuna, "tpe"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["evoprune", "deap", "pymoo"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--at", nargs="+", type=int, default=[20_000, 100_000], help="evaluations")
    args = parser.parse_args()
    print(head("tour", "way", *(f"{at} evaluations: median (quartiles)" for at in args.at)))
    for file in args.files:
        for way in args.ways:
            found = []
            for seed in range(args.seeds):
                length = Length(read(file), max(args.at))
                try:
                    with contextlib.suppress(Full):
                        WAYS[way](length, seed)
                except ImportError as error:
                    print(f"{way} left out: pip install {error.name}")
                    break
                found.append([length.best[min(at, len(length.best)) - 1] for at in args.at])
            else:
                quarters = numpy.quantile(found, [0.25, 0.5, 0.75], axis=0).T
                cells = (f"{middle:.0f} ({low:.0f} to {high:.0f})" for low, middle, high in quarters)
                print(row(file.stem, way, *cells), flush=True)


if __name__ == "__main__":
    main()
