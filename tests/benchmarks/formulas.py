"""Symbolic regression by several libraries: Nguyen 1 to 8 (Uy et al., GPEM 12, 2011).

    python -m tests.benchmarks.formulas            # a row a problem and library; gplearn where it is installed

Primitives add, sub, mul, div, sin, cos, exp, log; no constants; 20 points; 25,000 evaluations; ten seeds. Recovered:
RMSE below 1e-6 on 200 other points of the same interval. DEAP: examples/gp/symbreg.py with its 300 individuals.
gplearn: 1,000 individuals, 25 generations, else its defaults.
"""

from __future__ import annotations

import argparse
import math
import operator
import random
from collections.abc import Callable
from typing import Any

import numpy
from deap import algorithms, base, creator, gp, tools

from evoprune import Tree, minimize
from evoprune.spaces.primitives import PRIMITIVES
from tests.benchmarks.common import head, row

NAMES = ["add", "sub", "mul", "div", "sin", "cos", "exp", "log"]
NGUYEN: dict[int, Callable[[Any], Any]] = {
    1: lambda x: x**3 + x**2 + x,
    2: lambda x: x**4 + x**3 + x**2 + x,
    3: lambda x: x**5 + x**4 + x**3 + x**2 + x,
    4: lambda x: x**6 + x**5 + x**4 + x**3 + x**2 + x,
    5: lambda x: numpy.sin(x**2) * numpy.cos(x) - 1,
    6: lambda x: numpy.sin(x) + numpy.sin(x + x**2),
    7: lambda x: numpy.log(x + 1) + numpy.log(x**2 + 1),
    8: lambda x: numpy.sqrt(x),
}
INTERVALS = {7: (0, 2), 8: (0, 4)}
EVALUATIONS, EXACT, SOLVED = 25_000, 1e-6, 1e-9


def points(problem: int, seed: int) -> tuple[Any, Any]:
    """Return the points that a search reads, and those that score its result."""
    draws = numpy.random.RandomState(100 * problem + seed)
    low, up = INTERVALS.get(problem, (-1, 1))
    return draws.uniform(low, up, 20), draws.uniform(low, up, 200)


def error(formula: Callable[[Any], Any], problem: int, x: Any) -> float:
    with numpy.errstate(all="ignore"):
        found = float(numpy.sqrt(numpy.mean((formula(x) - NGUYEN[problem](x)) ** 2)))
    return found if math.isfinite(found) else 1e9


def ours(problem: int, x: Any, seed: int) -> Callable[[Any], Any]:
    found = minimize(
        lambda formula: error(formula, problem, x),
        Tree(NAMES, ["x"]),
        evaluations=EVALUATIONS,
        seed=seed,
        target=SOLVED,
    )
    return found.genome  # type: ignore[no-any-return]


def deap(problem: int, x: Any, seed: int) -> Callable[[Any], Any]:
    random.seed(seed)
    pset = gp.PrimitiveSet("MAIN", 1)
    for name in NAMES:
        function, takes, _ = PRIMITIVES[name]
        pset.addPrimitive(function, len(takes), name=name)
    toolbox = base.Toolbox()
    toolbox.register("grown", gp.genHalfAndHalf, pset=pset, min_=1, max_=2)
    toolbox.register("individual", tools.initIterate, creator.Formula, toolbox.grown)
    toolbox.register("select", tools.selTournament, tournsize=3)
    toolbox.register("mate", gp.cxOnePoint)
    toolbox.register("grown_within", gp.genFull, min_=0, max_=2)
    toolbox.register("mutate", gp.mutUniform, expr=toolbox.grown_within, pset=pset)
    for slot in ("mate", "mutate"):
        toolbox.decorate(slot, gp.staticLimit(key=operator.attrgetter("height"), max_value=17))
    population, best, count = tools.initRepeat(list, toolbox.individual, 300), tools.HallOfFame(1), 0
    while True:
        for individual in population:
            if not individual.fitness.valid:
                count += 1
                individual.fitness.values = (error(gp.compile(individual, pset), problem, x),)
        best.update(population)
        if count >= EVALUATIONS or best[0].fitness.values[0] < SOLVED:
            return gp.compile(best[0], pset)  # type: ignore[no-any-return]
        population = algorithms.varAnd(toolbox.select(population, 300), toolbox, 0.5, 0.1)


def gplearn(problem: int, x: Any, seed: int) -> Callable[[Any], Any]:
    from gplearn.functions import make_function  # pip install gplearn
    from gplearn.genetic import SymbolicRegressor

    exp = make_function(function=lambda x: numpy.exp(numpy.minimum(x, 50.0)), name="exp", arity=1)
    functions = ["add", "sub", "mul", "div", "sin", "cos", exp, "log"]
    model = SymbolicRegressor(
        population_size=1000, generations=25, function_set=functions, const_range=None, metric="rmse",
        stopping_criteria=SOLVED, random_state=seed,
    )  # fmt: skip
    model.fit(x[:, None], NGUYEN[problem](x))
    return lambda other: model.predict(other[:, None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--libraries", nargs="*", default=["ours", "deap", "gplearn"])
    options = parser.parse_args()
    creator.create("Lower", base.Fitness, weights=(-1.0,))
    creator.create("Formula", gp.PrimitiveTree, fitness=creator.Lower)
    print(head("problem", "library", "recovered", "median RMSE", "quartiles"), flush=True)
    for problem in NGUYEN:
        for name in options.libraries:
            errors = []
            for seed in range(options.seeds):
                x, others = points(problem, seed)
                errors.append(error(globals()[name](problem, x, seed), problem, others))
            low, middle, high = numpy.quantile(errors, [0.25, 0.5, 0.75], method="weibull")
            exact = f"{sum(each < EXACT for each in errors)}/{len(errors)}"
            print(row(f"Nguyen-{problem}", name, exact, f"{middle:.2g}", f"{low:.2g} to {high:.2g}"), flush=True)


if __name__ == "__main__":
    main()
