"""The engine as a library: minimise a function, or ask for genomes and tell their values.

Genomes are lists of the genes' values here, of a gene with levels the level itself; they may be given by name, too.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from sys import modules
from typing import Any

import numpy
from deap.tools import ParetoFront

from evoprune.api import Run
from evoprune.backends import evaluation
from evoprune.backends.execution import Execution
from evoprune.console.phase import note, silent
from evoprune.errors import InputError
from evoprune.experiment import registry
from evoprune.experiment.resolve import Resolved, resolve
from evoprune.experiment.spec import AUTO
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.problem import Evaluation, Problem, violation, worst
from evoprune.minimum import Ending, Minimum, State, default
from evoprune.records import recorded, run_folder
from evoprune.records.history import History, Line, scored
from evoprune.search import toolbox
from evoprune.search.run import refuse_other, run_with_others
from evoprune.search.scoring import draws_apart
from evoprune.search.search import watching

Operators = Mapping[str, str | Mapping[str, Any]]
"""By slot a name, or ``{"use": name, ...}`` with parameters, as in an experiment's YAML."""

Values = Mapping[str, Any] | Sequence[Any]
"""Values of the genes, by name or in their order."""

_Told = tuple[int | None, tuple[float, ...], tuple[float, ...], float]
"""Number of a candidate, None of one that was not asked for; its genome, values and violation."""

_FUNCTION, _GENE = "function", {"name", "low", "up", "levels", "exponent", "ordered", "scale", "when"}


def minimize(
    f: Callable[..., Any] | Problem,
    genes: Sequence[Gene] = (),
    *,
    algorithm: str | Mapping[str, Any] = AUTO,
    operators: Operators | None = None,
    population: int | None = None,
    evaluations: int = 1000,
    objectives: int = 1,
    maximise: bool = False,
    batch: bool = False,
    constraints: Sequence[Callable[..., Any]] | Callable[..., Any] = (),
    initial: Sequence[Values] = (),
    seed: int = 0,
    workers: int | Execution = 1,
    folder: str | Path | None = None,
    progress: bool = False,
    callback: Callable[[State], Any] = lambda _: None,
    target: float | None = None,
    seconds: float | None = None,
    patience: int | None = None,
) -> Minimum:
    """Minimise ``f``, a function of the genes' values; or search a :class:`evoprune.Problem`.

    >>> from evoprune import Gene, minimize
    >>> found = minimize(lambda x, y: x**2 + (y == "odd"), [Gene("x", -1.0, 1.0), Gene.choice("y", ["odd", "even"])])
    >>> found["y"]
    'even'

    ``f`` is called with the genes' values by name where its parameters are the genes' names, or else with their list;
    so are ``constraints``, also by some of the names, each satisfied where it returns 0 or less: genomes that violate
    them less are better, whatever their values. ``batch``: all take an array (candidates, genes), or by name arrays
    (candidates,), and return (candidates,) values, or (candidates, objectives). ``maximise``: whether more is better.
    ``objectives``: the count of numbers that ``f`` returns. ``algorithm``, ``population``: by default as of
    :func:`evoprune.minimum.default`. ``initial``: genomes to begin with, as mappings by name, less the inactive genes,
    or lists. ``workers``: processes on this host, or an :class:`evoprune.backends.execution.Execution`; several import
    ``f`` by its name. ``folder``: of the run, which the same call continues after an interruption; processes that make
    it at the same time share the work. None keeps none. ``progress``: write the run's lines to standard error.

    No generation begins after so many ``evaluations`` of different genomes (for a problem, units of work), or
    ``seconds``; once the first value is as good as ``target``; after ``patience`` generations without a better one; or
    once ``callback``, called after each, returns True.

    Raises :class:`evoprune.InputError` for impossible settings, :class:`evoprune.errors.Stopped` where over half of
    the evaluations fail.
    """
    execution = workers if isinstance(workers, Execution) else Execution(workers=workers)
    execution = replace(execution, figures=False, shared=True)  # the result draws figures when asked for
    more = {"objectives": objectives, "maximise": maximise, "batch": batch}
    constraints = [constraints] if callable(constraints) else constraints
    problem, plugins = _described(f, genes, constraints, execution, more | {"initial": _listed(initial, genes)})
    budget = f.budget if isinstance(f, Problem) else None
    subject = (f.genes, len(f.signs)) if isinstance(f, Problem) else (Genes(genes), objectives)
    how = algorithm, operators, population, *subject, budget is not None and budget.limit is not None
    resolved = _resolved(problem, *how, budget=evaluations, plugins=plugins, seed=seed)
    with ExitStack() as stack:
        if not progress:
            stack.enter_context(silent())
        note(f"algorithm: {resolved.operators['algorithm'].use}, population: {resolved.experiment.population}")
        ending = Ending(callback, target, seconds, patience)
        stack.enter_context(watching(ending))
        if folder is not None:
            return _minimum(resolved, Path(folder), execution, ending)
        place = stack.enter_context(tempfile.TemporaryDirectory())
        return replace(_minimum(resolved, Path(place, "run"), execution, ending), folder=None)


class Search:
    """A search whose genomes the caller scores: the same one that :func:`minimize` makes with the same arguments.

    >>> from evoprune import Gene, Search
    >>> search = Search([Gene("x", -1.0, 1.0)], seed=0)
    >>> while search.evaluations < 100:
    ...     for genome in search.ask():
    ...         search.tell(genome, genome[0] ** 2)
    >>> search.best[1][0] < 0.01
    True

    ``folder``: of the values told, from which the same call goes on after an interruption; None keeps none. A search
    can be pickled; the copy goes on alike, without a folder.
    """

    def __init__(
        self, genes: Sequence[Gene], *, algorithm: str | Mapping[str, Any] = AUTO,
        operators: Operators | None = None, population: int | None = None, objectives: int = 1, maximise: bool = False,
        initial: Sequence[Values] = (), seed: int = 0, folder: str | Path | None = None,
    ) -> None:  # fmt: skip
        self._arguments = {key: value for key, value in locals().items() if key not in ("self", "folder")}
        self.genes = Genes(genes)
        more = {"objectives": objectives, "maximise": maximise, "initial": _listed(initial, genes)}
        described = _function(["asked:for"], self.genes, more)
        resolved = _resolved(described, algorithm, operators, population, self.genes, objectives, seed=seed)
        problem = resolved.problem(resolved.settings)
        tools = toolbox.build(resolved, problem, toolbox.problem_ref(resolved))
        self._signs, self._steps = problem.signs, tools.algorithm(tools)
        self._draws = random.Random(seed).getstate(), numpy.random.RandomState(seed).get_state()
        self._scores: dict[tuple[float, ...], tuple[tuple[float, ...], float]] = {}
        self._open: dict[tuple[Any, ...], list[Individual]] = {}
        self._numbered = 0
        self._told: list[_Told] = []
        self._history: History | None = None
        self._best: Individual | None = None
        self._front = ParetoFront()
        self.generation = 0
        if folder is not None:
            self._go_on(Path(folder), resolved)

    def _go_on(self, folder: Path, resolved: Resolved) -> None:
        """Take the values told before from ``folder``, and keep all later ones there."""
        with run_folder.making(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = ExitStack()
        self._lock.enter_context(run_folder.locked(folder))
        refuse_other(resolved, folder, "take another folder")
        run_folder.write_config(folder, resolved.config())
        for line in recorded.read(folder, self._signs).lines:
            values = worst(self._signs) if "failure" in line else tuple(line["fitness"])
            self._repeat((line.get("candidate"), tuple(line["genome"]), values, line.get("violation", 0.0)))
        self._history = History(folder, (), lambda: list(recorded.cut_broken_end(folder)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._arguments, self._told, self._numbered)

    @property
    def evaluations(self) -> int:
        return len(self._scores)

    @property
    def best(self) -> tuple[list[Any], tuple[float, ...]] | None:
        """The best genome, by its constraints, its first objective, then the others, and its values; at first None."""
        return None if self._best is None else (self.genes.chosen(self._best), self._best.fitness.values)

    @property
    def front(self) -> list[tuple[list[Any], tuple[float, ...]]]:
        """The non-dominated genomes of several objectives, and their values."""
        return [(self.genes.chosen(individual), individual.fitness.values) for individual in self._front]

    def ask(self) -> list[list[Any]]:
        """Return the genomes of this generation without values; of the next generation where all have some.

        Empty when the algorithm has ended.
        """
        while not self._open:
            with self._drawing():
                step = next(self._steps, None)
            if step is None:
                return []
            if isinstance(step, Evaluate):
                for individual in step.individuals:
                    individual.ident, self._numbered = self._numbered, self._numbered + 1
                    if individual.genome in self._scores:
                        self._score(individual)
                    else:
                        self._open.setdefault(tuple(self.genes.chosen(individual)), []).append(individual)
            else:
                self.generation += 1
        return [list(genome) for genome in self._open]

    def tell(self, genome: Values, values: float | Sequence[float], constraints: Sequence[float] = ()) -> None:
        """Give the values of a genome, one an objective; the worst for one that failed: ``inf``.

        It may be one that :meth:`ask` did not return. ``constraints``: their values, see :func:`minimize`.
        """
        (genome,) = _listed([genome], self.genes, "tell")
        given = tuple(map(float, numpy.ravel(values)))
        if len(given) != len(self._signs):
            raise InputError(f"expected {len(self._signs)} values, got {len(given)}", "tell")
        individuals = self._open.pop(tuple(genome), None) or [self._unasked(genome)]
        sound = all(map(math.isfinite, given))
        self._learn(individuals, given if sound else worst(self._signs), violation(constraints))

    def _learn(self, individuals: Sequence[Individual], values: tuple[float, ...], excess: float) -> None:
        first = individuals[0]
        if self._history:
            failure = None if all(map(math.isfinite, values)) else "no finite value"
            name = {"reference": f"told {len(self._told)}"} if first.ident is None else {"candidate": first.ident}
            line: Line = {**name, "genome": list(first)}
            if first.ident is not None:
                line |= {"generation": self.generation, "parents": list(first.parents), "memo": False}
            self._history.write(line | scored(Evaluation(values, failure=failure, violation=excess)), sync=True)
        self._told.append((first.ident, first.genome, values, excess))
        self._scores[first.genome] = values, excess
        for individual in individuals:
            self._score(individual)

    def _repeat(self, told: _Told) -> None:
        number, genome, values, excess = told
        if number is not None and number >= self._numbered:
            self.ask()
        key = tuple(self.genes.chosen(genome))
        if (number is None) != (key not in self._open):
            raise InputError("its search cannot be continued exactly: code or operators changed", f"candidate {number}")
        self._learn(self._open.pop(key, []) or [Individual(genome, self._signs)], values, excess)

    def _unasked(self, genome: Sequence[Any]) -> Individual:
        try:
            made = Individual(self.genes.encoded(genome), self._signs)
        except ValueError as error:
            raise InputError(str(error), "tell") from None
        if made.genome in self._scores:
            raise InputError(f"{list(genome)} is known already", "tell")
        return made

    def _score(self, individual: Individual) -> None:
        individual.fitness.assign(*self._scores[individual.genome])
        if self._best is None or individual.fitness > self._best.fitness:
            self._best = deepcopy(individual)
        if len(self._signs) > 1:
            self._front.update([individual])

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Draw from this search's own random numbers."""
        with draws_apart():
            random.setstate(self._draws[0])
            numpy.random.set_state(self._draws[1])
            try:
                yield
            finally:
                self._draws = random.getstate(), numpy.random.get_state()


def _unpickled(arguments: Mapping[str, Any], told: Sequence[_Told], numbered: int) -> Search:
    search = Search(**arguments)
    for one in told:
        search._repeat(one)
    if search._numbered < numbered:
        search.ask()
    return search


def _listed(points: Sequence[Values], genes: Sequence[Gene], argument: str = "initial") -> list[list[Any]]:
    """The lists of the values of ``points``, given as ``argument``."""
    names = [gene.name for gene in genes]
    for point in points:
        if isinstance(point, Mapping) and not point.keys() <= {*names}:
            raise InputError(f"expected a value for each of {', '.join(names)}, got {dict(point)}", argument)
    return [[*map(point.get, names)] if isinstance(point, Mapping) else list(point) for point in points]


def _described(
    f: Any, genes: Sequence[Gene], constraints: Sequence[Any], execution: Execution, more: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The ``problem`` section of an experiment that searches ``f``, with ``more`` settings, and its plugins."""
    alone = not execution.places[1:] and execution.map in (None, "serial")
    named = [_named(type(f) if isinstance(f, Problem) else f), *map(_named, constraints)]
    for name, module in named:
        if module is None and (isinstance(f, Problem) or not alone):
            raise InputError(f"other processes cannot import {name}; define it at the top of a module", "workers")
    plugins = list(dict.fromkeys(module for _, module in named if module is not None))
    if isinstance(f, Problem):
        if constraints or any(more[key] for key in ("maximise", "initial", "batch")):
            raise InputError("a Problem has constraints, signs, batches and first genomes of its own", "minimize")
        return {"use": named[0][0], **f.settings.model_dump(mode="json")}, plugins
    calls = [name if module is not None else f"{name} {place}" for place, (name, module) in enumerate(named)]
    evaluation.this_worker.forget()  # it may know another function of the same name
    kind: Any = registry.problem(_FUNCTION)
    every = zip(calls, (f, *constraints), named, strict=True)
    kind.lent.update({call: function for call, function, (_, module) in every if module is None})
    return _function(calls, Genes(genes), more), plugins


def _named(f: Any) -> tuple[str, str | None]:
    """``module:name`` of ``f``, and its module; None for a function that cannot be imported."""
    module, name = getattr(f, "__module__", ""), getattr(f, "__qualname__", type(f).__qualname__)
    try:
        importable = attrgetter(name)(modules[module]) is f and "." not in name
    except (AttributeError, KeyError):
        importable = False
    return f"{module}:{name}", module if importable else None


def _function(calls: Sequence[str], genes: Genes, more: Mapping[str, Any]) -> dict[str, Any]:
    """The ``problem`` section for the first of ``calls``, with the others as its constraints."""
    described = [{key: value for key, value in asdict(gene).items() if key in _GENE} for gene in genes]
    call, *constraints = calls
    return {"use": _FUNCTION, "call": call, "genes": described, "constraints": constraints, **more}


def _resolved(
    problem: Mapping[str, Any], algorithm: str | Mapping[str, Any], operators: Operators | None, population: int | None,
    genes: Genes, objectives: int, limited: bool = False, **keys: Any,
) -> Resolved:  # fmt: skip
    chosen, size = default(genes, objectives, limited) if algorithm == AUTO else ({"algorithm": algorithm}, 20)
    keys |= {"operators": chosen | dict(operators or {}), "population": population or size}
    return resolve({"problem": problem, **keys}, "minimize")


def _minimum(resolved: Resolved, folder: Path, execution: Execution, ending: Ending) -> Minimum:
    run_with_others(resolved, folder, execution)
    run = Run(folder, resolved, recorded.read_result(folder, resolved.problem.Result))
    genes, signs = run.problem.genes, run.problem.signs
    front = [(genes.chosen(point.genome), tuple(point.fitness)) for point in run.result.front or ()]
    scores = ending.scores or recorded.read(folder, signs).candidates
    history = [(genes.chosen(genome), evaluation.values) for (genome, _), evaluation in scores.items()]
    best, algorithm = run.best, run.resolved.operators["algorithm"].use
    found = genes.chosen(best.genome), tuple(best.fitness), run.result.evaluations
    return Minimum(*found, front, folder, best.violation, genes.names, history, algorithm)
