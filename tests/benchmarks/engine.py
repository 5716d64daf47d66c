"""Measure the algorithms of ``minimize``, and other libraries, at equal evaluations; print a table, and assert nothing.

Run it from the project's folder; a way that is measured in ``--lines`` already is not measured again. Optuna, pymoo and
Nevergrad are needed only for the ways with their names:

    python -m tests.benchmarks.engine auto cma generational --seeds 5 --lines engine.jsonl
    python -m tests.benchmarks.engine auto optuna.tpe pymoo nevergrad --at 200 1000 --lines engine.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy
from deap import benchmarks
from moocore import hypervolume

from evoprune import Gene, Problem, Search, minimize
from evoprune.problems.benchmark import Knapsack, KnapsackSettings
from tests.benchmarks.common import head, row

Values = tuple[float, ...]
SPAN = 5.0
_PLANNED = {"pymoo", "nevergrad"}  # ways that choose by the number of evaluations
_ONE_OBJECTIVE = {"cma", "optuna.cma", "pymoo.cma"}


@dataclass
class Case:
    """A function ``f`` of the values of ``genes``; ``limits``: of its constraints; ``reference``: of its volume.

    ``problem``: the same with a budget in place of the constraints.
    """

    name: str
    genes: list[Gene]
    f: Callable[[Sequence[Any]], Values]
    limits: Callable[[Sequence[Any]], list[float]] | None = None
    reference: Values = (0.0,)
    centre: Sequence[float] = ()
    problem: Problem | None = None


def real(name: str, size: int, draws: random.Random) -> Case:
    """A function of DEAP's with its optimum moved by up to 0.6 of the way to the bounds, which hold in [-5, 5]."""
    moved = [draws.uniform(-0.6, 0.6) * SPAN for _ in range(size)]
    least = 1.0 if name == "rosenbrock" else 0.0  # where its optimum lies

    def f(values: Sequence[float]) -> Values:
        return tuple(getattr(benchmarks, name)([value - by + least for value, by in zip(values, moved, strict=True)]))

    return Case(f"{name}, {size}", [Gene(f"x{place}", -SPAN, SPAN) for place in range(size)], f, centre=moved)


def constrained(draws: random.Random) -> Case:
    """A sphere whose optimum violates a linear constraint, less its least value within it."""
    case, size = real("sphere", 5, draws), 5
    centre = case.centre
    return Case(
        "sphere, 5, constrained", case.genes, lambda values: (case.f(values)[0] - 1 / size,),
        lambda values: [1 - sum(value - by for value, by in zip(values, centre, strict=True))],
    )  # fmt: skip


def mixed(draws: random.Random) -> Case:
    """Four real genes, two whole, one logarithmic and two options, as of a training's settings."""
    moved = [draws.uniform(-0.6, 0.6) for _ in range(4)]
    whole, rate = [draws.randint(2, 62) for _ in range(2)], draws.uniform(-4, -1)
    kinds = [draws.choice("abcd") for _ in range(2)]

    def f(values: Sequence[Any]) -> Values:
        reals, wholes, given, options = values[:4], values[4:6], values[6], values[7:]
        far = sum((value - by) ** 2 for value, by in zip(reals, moved, strict=True))
        far += sum(((value - by) / 32) ** 2 for value, by in zip(wholes, whole, strict=True))
        wrong = sum(0.3 for value, by in zip(options, kinds, strict=True) if value != by)
        return (far + (math.log10(given) - rate) ** 2 / 4 + wrong,)

    genes = [Gene(f"x{place}", -1.0, 1.0) for place in range(4)]
    genes += [Gene.integer(f"n{place}", 0, 64) for place in range(2)]
    genes += [Gene.log("rate", 1e-5, 1.0), *(Gene.choice(f"kind{place}", list("abcd")) for place in range(2))]
    return Case("mixed, 9", genes, f)


def conditional(draws: random.Random) -> Case:
    """One of four kinds, each with a real and a logarithmic gene of its own."""
    kinds = "abcd"
    least = dict(zip(kinds, draws.sample([0.0, 0.2, 0.4, 0.6], 4), strict=True))
    moved = {kind: (draws.uniform(-0.6, 0.6), draws.uniform(-4, -1)) for kind in kinds}

    def f(values: Sequence[Any]) -> Values:
        kind, *others = values
        x, rate = (value for value in others if value is not None)
        return (least[kind] + (x - moved[kind][0]) ** 2 + (math.log10(rate) - moved[kind][1]) ** 2 / 4,)

    genes = [Gene.choice("kind", kinds)]
    for kind in kinds:
        own = ("kind", kind)
        genes += [Gene(f"x {kind}", -1.0, 1.0, when=own), Gene.log(f"rate {kind}", 1e-5, 1.0, when=own)]
    return Case("conditional, 9", genes, f)


def choices(draws: random.Random) -> Case:
    """Ten genes of six options without an order, each with a cost, and pairs of neighbours with one of their own."""
    costs = [draws.sample(range(6), 6) for _ in range(10)]
    pairs = {(place, *both): draws.random() for place in range(9) for both in itertools.product("abcdef", repeat=2)}

    def f(values: Sequence[str]) -> Values:
        alone = sum(own["abcdef".index(value)] for own, value in zip(costs, values, strict=True))
        return (alone + sum(pairs[place, *both] for place, both in enumerate(itertools.pairwise(values))),)

    return Case("choices, 10", [Gene.choice(f"kind{place}", "abcdef") for place in range(10)], f)


def levels(draws: random.Random) -> Case:
    """Twenty genes of ten ordered levels, each with a weight, and pairs that add to each other's level_loss."""
    best = [draws.randrange(10) for _ in range(20)]
    weights = [10 ** draws.uniform(-1, 1) for _ in best]

    def f(values: Sequence[int]) -> Values:
        far = [abs(value - by) for value, by in zip(values, best, strict=True)]
        pairs = sum(one * other for one, other in itertools.pairwise(far))
        return (sum(weight * each for weight, each in zip(weights, far, strict=True)) + pairs / 10,)

    return Case("levels, 20", [Gene.integer(f"n{place}", 0, 9) for place in range(20)], f)


def packing(draws: random.Random) -> Case:
    """A knapsack of 50 items, up to 3 of each: the share of the best value that is missing."""
    problem = Knapsack(KnapsackSettings(items=50, copies=3, draw=draws.randrange(10**6)))
    most = problem.evaluate(problem.references()["optimum"]).values[0]
    return Case(
        "knapsack, 50", [*problem.genes], lambda values: (1 - problem.evaluate(values).values[0] / most,),
        lambda values: [problem.budget.spent(values) - problem.capacity], problem=problem,
    )  # fmt: skip


def front(name: str, size: int, objectives: int) -> Case:
    f = {"zdt1": benchmarks.zdt1, "dtlz2": partial(benchmarks.dtlz2, obj=objectives)}[name]
    reference = (1.1, 6.0) if objectives == 2 else (2.0,) * objectives
    genes = [Gene(f"x{place}") for place in range(size)]
    return Case(f"{name}, {size}", genes, lambda values: tuple(f(values)), reference=reference)


def cases(seed: int) -> Iterator[Case]:
    """All cases, drawn from ``seed`` in another way than searches draw, whose first genomes would be optima."""
    for name in ("sphere", "rosenbrock", "rastrigin"):
        for size in (5, 30):
            yield real(name, size, random.Random(f"case {seed}"))
    for make in (constrained, mixed, conditional, choices, levels, packing):
        yield make(random.Random(f"case {seed}"))
    yield front("zdt1", 30, 2)
    yield front("dtlz2", 12, 3)


class Score:
    """Calls a case's function, and keeps all values of genomes that satisfy the constraints."""

    def __init__(self, case: Case, most: int) -> None:
        self.case, self.most, self.values = case, most, list[Values | None]()

    def __call__(self, genome: Sequence[Any]) -> tuple[Values, list[float]]:
        values, limits = self.case.f(genome), self.case.limits(genome) if self.case.limits else []
        self.values.append(None if any(limit > 0 for limit in limits) else values)
        if len(self.values) >= self.most:
            raise Full(values, limits)
        return values, limits

    def after(self, evaluations: int) -> float:
        """The least value, or 1 less the share of the reference's volume that the front covers."""
        found = [values for values in self.values[:evaluations] if values is not None]
        if len(self.case.reference) == 1:
            return min((values[0] for values in found), default=math.inf)
        inside = [one for one in found if all(a < b for a, b in zip(one, self.case.reference, strict=True))]
        if not inside:
            return 1.0
        volume = float(hypervolume(numpy.array(inside), ref=numpy.array(self.case.reference)))
        return 1 - volume / math.prod(self.case.reference)


class Full(Exception):
    """Ends a search."""


Way = Callable[[Score, int], None]
"""A search that scores genomes until :class:`Full` ends it, from a seed."""


def ours(how: dict[str, Any], score: Score, seed: int) -> None:
    case = score.case
    if case.problem:
        if how["algorithm"] != "auto":
            how = {"operators": {"mutate": "exchange", "repair": "shift"}, **how}
        for genome, _ in minimize(case.problem, evaluations=score.most, seed=seed, **how).history:
            score(genome)
        return
    search = Search(case.genes, objectives=len(case.reference), seed=seed, **how)
    while genomes := search.ask():
        for genome in genomes:
            search.tell(genome, *score(genome))


def named(genes: Sequence[Gene], value: Callable[[Gene], Any]) -> list[Any]:
    """The ``value`` of each gene, and None of those whose condition others do not meet."""
    values: dict[str, Any] = {}
    for gene in genes:
        values[gene.name] = value(gene) if not gene.when or values[gene.when[0]] == gene.when[1] else None
    return list(values.values())


def optuna(sampler: str, score: Score, seed: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    case, samplers = score.case, optuna.samplers
    made = {
        "tpe": lambda: samplers.TPESampler(seed=seed),
        "cma": lambda: samplers.CmaEsSampler(seed=seed),
        "nsga2": lambda: samplers.NSGAIISampler(seed=seed),
    }[sampler]()
    study = optuna.create_study(sampler=made, directions=["minimize"] * len(case.reference))

    def suggested(trial: Any, gene: Gene) -> Any:
        if not gene.ordered:
            return trial.suggest_categorical(gene.name, gene.levels)
        if gene.levels:
            return trial.suggest_int(gene.name, gene.levels[0], gene.levels[-1])
        return trial.suggest_float(gene.name, gene.chosen(gene.low), gene.chosen(gene.up), log=gene.exponent)

    while True:
        trial = study.ask()
        values, limits = score(named(case.genes, partial(suggested, trial)))
        for place, limit in enumerate(limits):
            trial.set_constraint(str(place), limit)
        study.tell(trial, values)


def pymoo(score: Score, seed: int, cma: bool = False) -> None:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.algorithms.soo.nonconvex.cmaes import CMAES
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.mixed import MixedVariableGA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Choice, Integer, Real
    from pymoo.optimize import minimize as search
    from pymoo.termination import get_termination

    case = score.case
    plain = not any(gene.levels for gene in case.genes)

    def variable(gene: Gene) -> Any:
        if not gene.ordered:
            return Choice(options=gene.levels)
        return Integer(bounds=(gene.levels[0], gene.levels[-1])) if gene.levels else Real(bounds=(gene.low, gene.up))

    class Given(ElementwiseProblem):
        def __init__(self) -> None:
            space: Any = {"vars": {gene.name: variable(gene) for gene in case.genes}}
            if plain:
                bounds = {"xl": [gene.low for gene in case.genes], "xu": [gene.up for gene in case.genes]}
                space = {"n_var": len(case.genes), **bounds}
            tried = len(case.limits([gene.chosen(gene.low) for gene in case.genes])) if case.limits else 0
            super().__init__(n_obj=len(case.reference), n_ieq_constr=tried, **space)

        def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
            given = dict(zip((gene.name for gene in case.genes), x, strict=True)) if plain else x
            of = lambda gene: gene.chosen(given[gene.name]) if gene.exponent else given[gene.name]  # noqa: E731
            out["F"], out["G"] = score(named(case.genes, of))

    algorithm = MixedVariableGA(pop_size=20)
    if plain:
        algorithm = (NSGA2 if len(case.reference) > 1 else GA)(pop_size=min(100, score.most // 10))
    search(Given(), CMAES() if cma else algorithm, get_termination("n_gen", 10**6), seed=seed)


def nevergrad(score: Score, seed: int) -> None:
    import nevergrad as ng

    def parameter(gene: Gene) -> Any:
        if not gene.ordered:
            return ng.p.Choice(list(gene.levels))
        if gene.levels:
            return ng.p.Scalar(lower=gene.levels[0], upper=gene.levels[-1]).set_integer_casting()
        low, up = gene.chosen(gene.low), gene.chosen(gene.up)
        return ng.p.Log(lower=low, upper=up) if gene.exponent else ng.p.Scalar(lower=low, upper=up)

    genes = score.case.genes
    space = ng.p.Dict(**{gene.name: parameter(gene) for gene in genes})
    space.random_state.seed(seed)
    optimizer = ng.optimizers.NGOpt(parametrization=space, budget=score.most)
    while True:
        asked = optimizer.ask()
        values, limits = score(named(genes, lambda gene: asked.value[gene.name]))  # noqa: B023 - called at once
        optimizer.tell(asked, values if len(values) > 1 else values[0], limits or None)


def ways() -> dict[str, Way]:
    by_name: dict[str, Way] = {
        "pymoo": pymoo,
        "pymoo.cma": partial(pymoo, cma=True),
        "nevergrad": nevergrad,
    }
    return by_name | {f"optuna.{sampler}": partial(optuna, sampler) for sampler in ("tpe", "cma", "nsga2")}


def takes(way: str, case: Case) -> bool:
    """Tell whether ``way`` can search ``case``."""
    real = not any(gene.levels for gene in case.genes) and not case.limits
    return (way not in _ONE_OBJECTIVE or len(case.reference) == 1) and (way != "pymoo.cma" or real)


def measured(
    way: str, case: Case, most: int, at: Sequence[int], seed: int, others: Mapping[str, Way]
) -> dict[str, Any]:  # fmt: skip
    """Search ``case`` until ``most`` evaluations; ``way``: of ``others``, an algorithm's name, or settings as JSON."""
    score, start = Score(case, most), time.process_time()
    how = json.loads(way) if way.startswith("{") else {"algorithm": way}
    with contextlib.suppress(Full):
        others.get(way, partial(ours, how))(score, seed)
    seconds = time.process_time() - start
    found = {str(evaluations): score.after(evaluations) for evaluations in at if evaluations <= most}
    return {"way": way, "case": case.name, "seed": seed, "most": most, "seconds": seconds, "found": found}


def main(
    description: str | None, cases: Callable[[int], Iterable[Case]], ways: Mapping[str, Way], defaults: Sequence[int]
) -> None:
    """Measure the ways named on the command line on the cases of each seed; ``defaults``: numbers of evaluations."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="+")
    parser.add_argument("--cases", nargs="*", default=[""], help="names that begin so")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--at", type=int, nargs="+", default=defaults, help="evaluations")
    parser.add_argument("--lines", type=Path, required=True)
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.lines.read_text().splitlines()] if options.lines.exists() else []
    known = {(line["way"], line["case"], line["seed"], int(at)) for line in lines for at in line["found"]}
    for seed, way in ((seed, way) for seed in range(options.seeds) for way in options.ways):
        runs = [[most] for most in options.at] if way in _PLANNED else [options.at]
        chosen = (case for case in cases(seed) if case.name.startswith(tuple(options.cases)) and takes(way, case))
        for case, at in itertools.product(chosen, runs):
            if not known.issuperset((way, case.name, seed, evaluations) for evaluations in at):
                line = measured(way, case, max(at), at, seed, ways)
                lines.append(line)
                with options.lines.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    print(head("function", "evaluations", *options.ways))
    for case in cases(0):
        for most in options.at if case.name.startswith(tuple(options.cases)) else ():
            cells = []
            for way in options.ways:
                found = [
                    line["found"][str(most)]
                    for line in lines
                    if (line["way"], line["case"]) == (way, case.name) and str(most) in line["found"]
                ]
                spread = numpy.quantile(found, (0.25, 0.75)) if found else (math.nan, math.nan)
                cells.append(f"{median(found):.2g} ({spread[0]:.2g} to {spread[1]:.2g})" if found else "")
            print(row(case.name, most, *cells))


if __name__ == "__main__":
    main(__doc__, cases, ways(), [200, 2000])
