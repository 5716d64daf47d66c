"""Measure the engine against DEAP and pymoo; print tables, and assert nothing.

Run it from the project's folder, on a machine that does nothing else; ``fronts`` and a column of ``overhead`` need
pymoo, which evoprune does not:

    python -m tests.benchmarks.engine overhead
    python -m tests.benchmarks.engine fronts --seeds 10
    python -m tests.benchmarks.engine workers
    python -m tests.benchmarks.engine model --seeds 3
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import moocore
import numpy
import yaml
from deap import algorithms, base, benchmarks, tools
from scipy.stats import mannwhitneyu

from evoprune import Gene, Search, minimize
from evoprune.api import Run, run
from evoprune.files.json_files import read_json
from evoprune.problems.language_model.budgets.amounts import file_bytes
from evoprune.problems.language_model.budgets.milliseconds import Milliseconds
from evoprune.records import recorded, run_folder
from evoprune.records.history import is_generation

GENES, SIZE, EVALUATIONS = 30, 100, 3000
FRONTS = ("zdt1", "zdt2", "zdt3", "dtlz2", "bnh", "osy", "c2dtlz2")
SLEEP, SECONDS, MOST = 0.05, 10, 400  # of workers: the shortest evaluation, the time, evaluations that take longer
TOKENS = 96_000  # of the model: of either side
BYTES, SPEEDUPS = (1_600_000, 2_400_000), (1.5, 2.5)  # limits
UNSEEN = {"search_text": "test", "report_text": "train"}  # to judge on
WORST = 1.0  # the divergence up to which hypervolumes count, in nats a token
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
    few, many = 5, 205
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


def fronts(seeds: int, names: Sequence[str] = FRONTS) -> Iterator[str]:
    """Hypervolume of NSGA-II at equal evaluations, up to 1.1 in each objective after all fronts are scaled together."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.indicators.hv import HV
    from pymoo.optimize import minimize as pymoo_minimize
    from pymoo.problems import get_problem
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    yield f"| problem | evoprune: median of {seeds} seeds | pymoo | p |"
    yield "|---|---|---|---|"
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
        yield f"| {name} | {median(ours):.4f} | {median(theirs):.4f} | {p:.3f} |"


def front(problem: Any, seed: int) -> numpy.ndarray:
    """The values that satisfy all constraints and that no others dominate, with pymoo's operators and parameters."""
    genes = [Gene(f"x{at}", *map(float, bounds)) for at, bounds in enumerate(zip(problem.xl, problem.xu, strict=True))]
    mutate = {"use": "polynomial", "eta": 20.0, "indpb": 1 / len(genes)}
    operators = {"mate": {"use": "simulated_binary", "eta": 15.0}, "mutate": mutate}
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
    yield f"| algorithm | evaluations in {SECONDS} s | a second | best (median of {seeds} seeds) |"
    yield "|---|---|---|---|"
    genes = [Gene(f"x{place}", -5.12, 5.12) for place in range(5)]
    for algorithm in ("generational", "steady_state", "asynchronous"):
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
        rate = median(done)
        yield f"| {algorithm} | {rate * SECONDS:.0f} | {rate:.1f} | {median(best):.2f} |"


def model(seeds: int) -> Iterator[str]:
    """Divergence, bytes and milliseconds of the bundled model: one search for a front, and one search at each limit."""
    yield "| seed | one search: hypervolume | tokens | points | ended by | one at each limit: hypervolume | tokens |"
    yield "|---|---|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        table: str | None = None  # measured by the first run
        for seed in range(seeds):
            times = {"use": "milliseconds", "length": 128, "table": table}
            one = run(joint(seed, TOKENS, trade_offs=["bytes", times]) | FRONT, (), folder, f"{seed}")
            table = table or str(one.folder / "measured.json")
            limits: list[Any] = [{"use": "bytes", "at_most": limit} for limit in BYTES]
            limits += [times | {"table": table, "speedup": speedup} for speedup in SPEEDUPS]
            several = [
                run(joint(seed, TOKENS // len(limits), budget=limit), (), folder, f"{seed}-{at}")
                for at, limit in enumerate(limits)
            ]
            genomes = [[0.0] * len(one.best.genome), *(best.genome for best in one.result.front)]
            dense, *front = judged(one, genomes, table)
            found = [front, [each for single in several for each in judged(single, [single.best.genome], table)]]
            print(json.dumps([seed, dense, *found]), file=sys.stderr)
            points = [numpy.array([dense, *side]) / (1.0, *dense[1:]) for side in found]
            ours, theirs = (moocore.hypervolume(side, ref=(WORST, 1.0, 1.0)) for side in points)
            works = one.result.work, sum(each.result.work for each in several)
            ended = "budget" if works[0] >= TOKENS else "patience"
            row = [seed, f"{ours:.4f}", f"{works[0]:,.0f}", len(front), ended, f"{theirs:.4f}", f"{works[1]:,.0f}"]
            yield f"| {' | '.join(map(str, row))} |"


FRONT = {
    "operators": {"algorithm": {"use": "nsga2", "pool": 4, "screening": 0.25}},
    "population": 24,
    "patience": 4,
}


def joint(seed: int, tokens: int, **problem: Any) -> dict[str, Any]:
    """The experiment on blocks, channels and types, searched on 4 x 128 tokens and without training."""
    experiment = yaml.safe_load(Path("problems/gpt2_mini_joint.yaml").read_text())
    own = experiment["problem"]
    del own["recover"], own["budget"]
    own |= {"use": "language_model", "objective": "kl", "held_out_windows": 4} | problem
    for text in ("search_text", "report_text"):
        own[text] |= {"window": 128, "windows": 4}
    return experiment | {"seed": seed, "budget": tokens, "generations": 10_000}


def judged(found: Run, genomes: Sequence[Sequence[float]], table: str) -> list[tuple[float, float, float]]:
    """The divergence on text that no search saw, the bytes and the milliseconds of ``genomes``."""
    swapped = [f"problem.{text}.split={split}" for text, split in UNSEEN.items()]
    problem: Any = Run.open(found.folder, [*swapped, "problem.search_text.windows=16"]).problem
    transform = problem.session.transform
    times = Milliseconds(length=128, table=table).budget(transform, read_json(Path(table)))
    counted = file_bytes(transform)
    return [(problem.evaluate(own).values[0], counted.spent(own), times.spent(own)) for own in genomes]


WAYS = [deap, ours, pymoo] if any((Path(place) / "pymoo").is_dir() for place in sys.path) else [deap, ours]


TABLES = {"overhead": overhead, "fronts": fronts, "workers": workers, "model": model}


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
