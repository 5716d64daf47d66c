"""Measure the engine against DEAP and pymoo; print tables, and assert nothing.

Run it from the project's folder, on a machine that does nothing else; ``fronts`` needs pymoo, which evoprune does not:

    python -m tests.benchmarks.engine overhead
    python -m tests.benchmarks.engine fronts --seeds 10
    python -m tests.benchmarks.engine workers
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy
from deap import algorithms, base, benchmarks, tools
from scipy.stats import mannwhitneyu

from evoprune import Gene, Search, minimize
from evoprune.records import recorded, run_folder
from evoprune.records.history import is_generation
from tests.benchmarks.common import cpu_seconds, head, row

GENES, SIZE, EVALUATIONS = 30, 100, 3000
FRONTS = ("zdt1", "zdt2", "zdt3", "dtlz2", "bnh", "osy", "c2dtlz2")
SLEEP, SECONDS, MOST = 0.05, 10, 400  # of workers: the shortest evaluation, the time, evaluations that take longer
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


def overhead(seeds: int) -> Iterator[str]:
    """Milliseconds of one processor for each generation of 100, without the start and the end of a run."""
    yield head("", "ms a generation of 100", "median", "of DEAP's")
    few, many = 5, 205
    taken: dict[str, list[float]] = {way.__name__: [] for way in (deap, ours)}
    for seed in range(seeds + 1):  # the first one imports
        for way in (deap, ours):
            seconds = cpu_seconds(way, many) - cpu_seconds(way, few)
            taken[way.__name__] += [1000 * seconds / (many - few)] * (seed > 0)
    for name, times in taken.items():
        share = median(times) / median(taken["deap"])
        yield row(name, f"{min(times):.1f} to {max(times):.1f}", f"{median(times):.1f}", f"{share:.2f}")


def fronts(seeds: int, names: Sequence[str] = FRONTS) -> Iterator[str]:
    """Hypervolume of NSGA-II at equal evaluations, up to 1.1 in each objective after all fronts are scaled together."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.indicators.hv import HV
    from pymoo.optimize import minimize as pymoo_minimize
    from pymoo.problems import get_problem
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    yield head("problem", f"evoprune: median of {seeds} seeds", "pymoo", "p")
    for name in names:
        problem, evoprune, others = get_problem(name), [], []
        for seed in range(seeds):
            evoprune.append(front(problem, seed))
            result = pymoo_minimize(problem, NSGA2(pop_size=SIZE), ("n_eval", EVALUATIONS), seed=seed + 1)
            others.append(numpy.empty((0, problem.n_obj)) if result.F is None else result.F)
        every = numpy.vstack([*evoprune, *others])
        best = every[NonDominatedSorting().do(every, only_non_dominated_front=True)]
        low, high = best.min(axis=0), best.max(axis=0)
        volume = HV(ref_point=numpy.full(problem.n_obj, 1.1))
        ours, theirs = (
            [float(volume((each - low) / (high - low))) if len(each) else 0.0 for each in way]
            for way in (evoprune, others)
        )
        p = mannwhitneyu(ours, theirs).pvalue
        yield row(name, f"{median(ours):.4f}", f"{median(theirs):.4f}", f"{p:.3f}")


def front(problem: Any, seed: int) -> numpy.ndarray:
    """The values that satisfy all constraints and that no others dominate, with pymoo's operators and parameters."""
    genes = [Gene(f"x{at}", *map(float, bounds)) for at, bounds in enumerate(zip(problem.xl, problem.xu, strict=True))]
    mutate = {"use": "deap.tools:mutPolynomialBounded", "eta": 20.0, "indpb": 1 / len(genes)}
    operators = {"mate": {"use": "deap.tools:cxSimulatedBinaryBounded", "eta": 15.0}, "mutate": mutate}
    search = Search(genes, algorithm="nsga2", objectives=problem.n_obj, population=SIZE, operators=operators, seed=seed)
    while search.evaluations < EVALUATIONS:
        for genome in search.ask():
            (values,), (limits,) = problem.evaluate(numpy.array([genome]), return_values_of=["F", "G"])
            search.tell(genome, values, limits)
    genomes, values = map(numpy.array, zip(*search.front, strict=True))
    satisfied = (problem.evaluate(genomes, return_values_of=["G"]) <= 0).all(axis=1)
    return values[satisfied]


def slow(genome: list[float]) -> float:
    """Rastrigin's function after a sleep, 1, 2 or 8 times as long by the process."""
    number = multiprocessing.current_process()._identity[0]  # of a worker: from 1 on
    time.sleep(SLEEP * (1, 2, 8)[number % 3])
    return benchmarks.rastrigin(genome)[0]


def workers(seeds: int) -> Iterator[str]:
    """Evaluations a second, and the best, after equal time with workers 1, 2 and 8 times as slow."""
    yield head("algorithm", "evaluations a second", f"best after {SECONDS} s (median of {seeds} seeds)")
    genes = [Gene(f"x{place}", -5.12, 5.12) for place in range(5)]
    for algorithm in ("generational", "asynchronous"):
        done, best = [], []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder) / "run"
                minimize(slow, genes, algorithm=algorithm, evaluations=MOST, seed=seed, workers=3, folder=run)
                lines = [line for line in recorded.lines(run / run_folder.HISTORY) if is_generation(line)]
            first, *rest = lines  # until which workers start
            in_time = [line for line in rest if line["seconds"] - first["seconds"] <= SECONDS][-1]
            spent = in_time["seconds"] - first["seconds"]
            done.append((in_time["evaluations"] - first["evaluations"]) / spent)
            best.append(in_time["best"])
        yield row(algorithm, f"{median(done):.1f}", f"{median(best):.2f}")


TABLES = {"overhead": overhead, "fronts": fronts, "workers": workers}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=tuple(TABLES))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for line in TABLES[given.table](given.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
