"""Measure searches with noise: the true value of each result, and how often the value reported is right.

    python -m tests.benchmarks.noise --at 1000 --ways auto random
    python -m tests.benchmarks.noise --at 10000 --levels 1 --seeds 3

Ten genes; the noise is normal, with a standard deviation of ``level`` times that of the function in a box of a tenth of
its range around the optimum; no two scores share it. Right: the true value is within two of the standard errors
reported. Others report the least value that they saw, or none.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from evoprune import Gene, minimize
from tests.benchmarks.common import head, row

GENES = 10


class Function:
    """A function with noise; the optimum is 0."""

    def __init__(self, name: str, level: float, seed: int) -> None:
        self.name = name
        self.up = {"sphere": 5.0, "rastrigin": 5.12, "rosenbrock": 2.048, "ackley": 32.768, "mixed": 5.0}[name]
        self.low = -self.up
        draws = numpy.random.RandomState(1)
        self.best = numpy.ones(GENES) if name == "rosenbrock" else draws.uniform(self.low / 2, self.up / 2, GENES)
        if name == "mixed":  # two whole numbers, two of five options
            self.best[6:] = [3.0, -2.0, 1.0, 4.0]
        box = draws.uniform(-self.up / 10, self.up / 10, (2000, GENES))
        box[:, 6:] *= name != "mixed"
        self.noise = level * float(numpy.std([self.true(self.best + away) for away in box]))
        self._draws, self.calls = numpy.random.RandomState(1000 + seed), 0

    def true(self, x: Any) -> float:
        z = numpy.asarray(x, dtype=float) - self.best
        if self.name == "rastrigin":
            return float(10 * GENES + numpy.sum(z * z - 10 * numpy.cos(2 * numpy.pi * z)))
        if self.name == "rosenbrock":
            z = z + 1
            return float(numpy.sum(100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2))
        if self.name == "ackley":
            waves = numpy.cos(2 * numpy.pi * z).mean()
            return float(-20 * math.exp(-0.2 * math.sqrt(z @ z / GENES)) - math.exp(waves) + 20 + math.e)
        return float(z[:8] @ z[:8] + (z[8:] != 0).sum() * 2) if self.name == "mixed" else float(z @ z)

    def __call__(self, x: Any) -> float:
        self.calls += 1
        return self.true(x) + self.noise * float(self._draws.randn())

    def genes(self) -> list[Gene]:
        if self.name != "mixed":
            return [Gene(f"x{place}", self.low, self.up) for place in range(GENES)]
        real = [Gene(f"x{place}", self.low, self.up) for place in range(6)]
        whole = [Gene.integer(f"i{place}", -5, 5) for place in range(2)]
        return [*real, *whole, *(Gene.choice(f"c{place}", [0, 1, 2, 3, 4]) for place in range(2))]


Found = tuple[Any, float | None, float | None]
"""A genome, the value that is reported for it, and its standard error."""


def ours(algorithm: str, f: Function, most: int, seed: int) -> Found:
    found = minimize(lambda x: f(x), f.genes(), noisy=True, evaluations=most, seed=seed, algorithm=algorithm)
    return found.genome, found.values[0], found.standard_error


def without(f: Function, most: int, seed: int) -> Found:
    """Search as if there were no noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = minimize(lambda x: f(x), f.genes(), evaluations=most, seed=seed)
    return found.genome, found.values[0], None


def averaged(f: Function, most: int, seed: int) -> Found:
    """Random search: each genome's mean of ten scores."""
    draws = numpy.random.RandomState(seed)
    genomes = [drawn(f, draws) for _ in range(most // 10)]
    means = [sum(f(genome) for _ in range(10)) / 10 for genome in genomes]
    return genomes[int(numpy.argmin(means))], min(means), None


def drawn(f: Function, draws: Any) -> list[float]:
    real = draws.uniform(f.low, f.up, GENES).tolist()
    return (
        [*real[:6], *draws.randint(-5, 6, 2).tolist(), *draws.randint(0, 5, 2).tolist()] if f.name == "mixed" else real
    )


def optuna(sampler: str, f: Function, most: int, seed: int) -> Found:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    samplers = {"tpe": optuna.samplers.TPESampler, "cma": optuna.samplers.CmaEsSampler}
    study = optuna.create_study(sampler=samplers[sampler](seed=seed))

    def values(trial: Any) -> list[Any]:
        real = 6 if f.name == "mixed" else GENES
        x: list[Any] = [trial.suggest_float(str(place), f.low, f.up) for place in range(real)]
        x += [trial.suggest_int(str(place), -5, 5) for place in range(real, min(GENES, real + 2))]
        return x + [trial.suggest_categorical(str(place), [0, 1, 2, 3, 4]) for place in range(real + 2, GENES)]

    study.optimize(lambda trial: f(values(trial)), n_trials=most)
    return list(study.best_params.values()), study.best_value, None


def nevergrad(name: str, f: Function, most: int, seed: int) -> Found:
    import nevergrad as ng

    warnings.simplefilter("ignore")
    real = 6 if f.name == "mixed" else GENES
    parts: list[Any] = [ng.p.Array(shape=(real,), lower=f.low, upper=f.up)]
    parts += [ng.p.Scalar(lower=-5, upper=5).set_integer_casting() for _ in range(real, min(GENES, real + 2))]
    parts += [ng.p.Choice([0, 1, 2, 3, 4]) for _ in range(real + 2, GENES)]
    space = ng.p.Tuple(*parts)
    space.random_state.seed(seed)
    search = ng.optimizers.registry[name](space, budget=most)
    for _ in range(most):
        asked = search.ask()
        search.tell(asked, f(numpy.hstack(asked.value)))
    return numpy.hstack(search.provide_recommendation().value), None, None


def pymoo(f: Function, most: int, seed: int) -> Found:
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    if f.name == "mixed":
        raise ImportError("mixed genes", name="nothing: GA breeds real numbers")

    class Noisy(ElementwiseProblem):
        def __init__(self) -> None:
            super().__init__(n_var=GENES, n_obj=1, xl=f.low, xu=f.up)

        def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
            out["F"] = f(x)

    found = minimize(Noisy(), GA(pop_size=50), ("n_eval", most), seed=seed)
    return found.X, float(found.F[0]), None


WAYS: dict[str, Callable[[Function, int, int], Found]] = {
    "auto": partial(ours, "auto"), "generational": partial(ours, "generational"), "cma": partial(ours, "cma"),
    "without": without, "random": averaged, "optuna.cma": partial(optuna, "cma"), "optuna.tpe": partial(optuna, "tpe"),
    "TBPSA": partial(nevergrad, "TBPSA"), "NGOpt": partial(nevergrad, "NGOpt"), "pymoo": pymoo,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    functions = ["sphere", "rastrigin", "rosenbrock", "ackley", "mixed"]
    parser.add_argument("--functions", nargs="+", default=functions)
    parser.add_argument("--levels", nargs="+", type=float, default=[0.1, 1.0, 10.0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--at", type=int, default=1000, help="evaluations")
    args = parser.parse_args()
    print(head("function", "noise", "way", "true value: median (quartiles)", "reported", "right"), flush=True)
    for name in args.functions:
        for level in args.levels:
            for way in args.ways:
                try:
                    print(measured(name, level, way, args.seeds, args.at), flush=True)
                except ImportError as error:
                    print(f"{way} left out: pip install {error.name}")


def measured(name: str, level: float, way: str, seeds: int, most: int) -> str:
    """Return the row of one way."""
    true, reported, right = [], [], 0
    for seed in range(seeds):
        f = Function(name, level, seed)
        genome, value, error = WAYS[way](f, most, seed)
        assert f.calls <= most + 1, (way, f.calls)
        true.append(f.true(genome))
        reported.append(math.nan if value is None else value)
        right += error is not None and abs(reported[-1] - true[-1]) <= 2 * error
    low, middle, high = numpy.quantile(true, [0.25, 0.5, 0.75])
    shown = f"{numpy.median(reported):.3g}"
    return row(name, f"{level:g}", way, f"{middle:.3g} ({low:.3g} to {high:.3g})", shown, f"{right}/{seeds}")


if __name__ == "__main__":
    main()
