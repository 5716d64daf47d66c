"""Measure the engine against DEAP and pymoo; print tables, and assert nothing.

Run it from the project's folder, on a machine that does nothing else; ``fronts`` and a column of ``overhead`` need
pymoo, which evoprune does not:

    python -m tests.benchmarks.engine overhead
    python -m tests.benchmarks.engine fronts --seeds 10
    python -m tests.benchmarks.engine workers
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from deap import algorithms, base, benchmarks, tools

from evoprune import Gene, minimize

GENES, SIZE = 30, 100
OURS = {"select": "tournament", "survive": {"use": "elitist", "fraction": 0.01}}  # as near to eaSimple as can be


def deap(generations: int) -> None:
    """eaSimple with tournaments, a blend of each pair, and Gaussian noise on each child."""
    toolbox = base.Toolbox()
    toolbox.register("evaluate", benchmarks.sphere)
    toolbox.register("select", tools.selTournament, tournsize=3)
    toolbox.register("mate", tools.cxBlend, alpha=0.5)
    toolbox.register("mutate", tools.mutGaussian, mu=0, sigma=0.05, indpb=0.3)
    people = [Plain(random.random() for _ in range(GENES)) for _ in range(SIZE)]
    algorithms.eaSimple(people, toolbox, 1.0, 1.0, generations, verbose=False)


class Plain(list):
    """An individual as :mod:`deap.creator` makes it."""

    def __init__(self, genes):
        super().__init__(genes)
        self.fitness = Minimised()


class Minimised(base.Fitness):
    """A fitness as :mod:`deap.creator` makes it."""

    weights = (-1.0,)


def ours(generations: int) -> None:
    """The generational algorithm, with its history and its checkpoints in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        genes = [Gene(f"x{place}") for place in range(GENES)]
        how = {"population": SIZE, "operators": OURS, "folder": Path(folder) / "run"}
        minimize(benchmarks.sphere, genes, evaluations=SIZE * (generations + 1), **how)


def pymoo(generations: int) -> None:
    """pymoo's GA with its default operators, on a function of one genome."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize as pymoo_minimize

    class Sphere(ElementwiseProblem):
        def __init__(self):
            super().__init__(n_var=GENES, n_obj=1, xl=0.0, xu=1.0)

        def _evaluate(self, x, out, *_, **__):
            out["F"] = float((x**2).sum())

    pymoo_minimize(Sphere(), GA(pop_size=SIZE), ("n_gen", generations), seed=1)


def overhead(seeds: int) -> Iterator[str]:
    """Milliseconds of one processor for each generation of 100, without the start and the end of a run."""
    yield "| | ms a generation of 100 | median | of DEAP's |"
    yield "|---|---|---|---|"
    few, many = 5, 45
    for way in WAYS:  # imports, and what is computed once
        way(few)
    taken: dict[str, list[float]] = {way.__name__: [] for way in WAYS}
    for _ in range(seeds):
        for way in WAYS:
            taken[way.__name__].append(1000 * (processor(way, many) - processor(way, few)) / (many - few))
    for name, times in taken.items():
        share = median(times) / median(taken["deap"])
        yield f"| {name} | {min(times):.1f} to {max(times):.1f} | {median(times):.1f} | {share:.2f} |"


def processor(way: Callable[[int], None], generations: int) -> float:
    start = time.process_time()
    way(generations)
    return time.process_time() - start


WAYS = [deap, ours, pymoo] if any((Path(place) / "pymoo").is_dir() for place in sys.path) else [deap, ours]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("overhead",))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for line in {"overhead": overhead}[given.table](given.seeds):
        print(line)


if __name__ == "__main__":
    main()
