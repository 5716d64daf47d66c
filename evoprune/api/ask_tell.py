"""Ask and tell: a search whose genomes the caller scores."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy
from deap.tools import ParetoFront

from evoprune.api.arguments import (
    Operator,
    Operators,
    function_section,
    listed,
    modules_of,
    problem_section,
    resolve_search,
)
from evoprune.backends.execution import Execution
from evoprune.console.errors import InputError, as_tuple, blamed_on, cut_repr, stopping_at_full_disks
from evoprune.experiment.resolve import Resolved
from evoprune.experiment.spec import AUTO
from evoprune.files.paths import path_of
from evoprune.interfaces.algorithm import Evaluate, Individual
from evoprune.interfaces.genes import Gene, Genes
from evoprune.interfaces.problem import Evaluation, Problem, violation, worst
from evoprune.interfaces.space import Space, frozen
from evoprune.records import recorded, run_folder
from evoprune.records.history import History, Line, scored
from evoprune.search import toolbox
from evoprune.search.forecast import IDLE_GENERATIONS
from evoprune.search.run import refuse_other_experiment
from evoprune.search.scoring import preserve_random_state

_Score = tuple[int | None, tuple[Any, ...], tuple[float, ...], float]
"""Number of a candidate (None for a genome that :meth:`Search.ask` did not return), genome, values, violation."""


class Search:
    """A search whose genomes the caller scores; otherwise that of :func:`minimize` with the same arguments.

    >>> from evoprune import Gene, Search
    >>> search = Search([Gene("x", -1.0, 1.0)], seed=0)
    >>> while search.evaluations < 100 and (genomes := search.ask()):
    ...     for genome in genomes:
    ...         search.tell(genome, genome[0] ** 2)
    >>> search.best[1][0] < 0.01
    True

    With a :class:`Problem`, the caller scores the values of its space as it likes.
    ``folder``: stores the values, from which the same call continues after an interruption; None stores none. A search
    can be pickled; the copy continues in the same way, without a folder.
    """

    def __init__(
        self, space: Space | Sequence[Gene] | Problem, *, algorithm: Operator = AUTO,
        operators: Operators | None = None, plugins: Sequence[str] = (), population: int | None = None,
        objectives: int = 1, maximise: bool = False, initial: Sequence[Any] = (), seed: int = 0,
        folder: str | Path | None = None,
    ) -> None:  # fmt: skip
        self._arguments = {key: value for key, value in locals().items() if key not in ("self", "folder")}
        more: dict[str, Any] = {"objectives": objectives, "maximise": maximise}
        if isinstance(space, Problem):
            self.space = space.space
            section, own = problem_section(space, None, (), Execution(), more | {"initial": initial})
        else:
            self.space = space if isinstance(space, Space) else Genes(space)
            section = function_section(["asked:for"], self.space, more | {"initial": listed(initial, self.space)})
            own = modules_of(section)
        modules = [*as_tuple(plugins, "plugins"), *own]
        resolved = resolve_search(section, algorithm, operators, population, modules, seed=seed)
        problem = space if isinstance(space, Problem) else resolved.problem(resolved.settings)
        if problem.noisy:
            raise InputError("expected a problem without noise, as no genome is asked for twice", "Search")
        resolved = toolbox.with_default_operators(resolved, problem, bred=True)
        tools = toolbox.build(resolved, problem, toolbox.problem_ref(resolved))
        with preserve_random_state():
            toolbox.try_operators(tools, resolved, self.space)
        self._signs, self._steps = problem.signs, tools.algorithm(tools)
        self._draws = random.Random(seed).getstate(), numpy.random.RandomState(seed).get_state()
        self._scores: dict[tuple[Any, ...], tuple[tuple[float, ...], float]] = {}
        self._open: dict[Hashable, list[Individual]] = {}
        self._numbered = 0
        self._scored: list[_Score] = []
        self._history: History | None = None
        self._best: Individual | None = None
        self._front = ParetoFront()
        self.generation = 0
        if folder is not None:
            self._continue_from(path_of(folder, "folder").absolute(), resolved)

    def _continue_from(self, folder: Path, resolved: Resolved) -> None:
        """Replay the values stored in ``folder``, and store all later ones there."""
        with run_folder.creation_errors(folder), stopping_at_full_disks(folder):
            folder.mkdir(parents=True, exist_ok=True)
        run_folder.refuse_foreign(folder)
        self._lock = ExitStack()
        self._lock.enter_context(run_folder.locked(folder))
        refuse_other_experiment(resolved, folder, "take another folder")
        with stopping_at_full_disks(folder):
            run_folder.write_config(folder, resolved.config())
        for line in recorded.read(folder, self._signs, self.space).lines:
            values = worst(self._signs) if "failure" in line else tuple(line["fitness"])
            self._replay((line.get("candidate"), frozen(line["genome"]), values, line.get("violation", 0.0)))
        self._folder, self._history = folder, History(folder, (), lambda: list(recorded.cut_broken_end(folder)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._arguments, self._scored, self._numbered)

    @property
    def evaluations(self) -> int:
        return len(self._scored)

    @property
    def best(self) -> tuple[Any, tuple[float, ...]] | None:
        """The best genome, by its constraints, its first objective, then the others, and its values; at first None."""
        return None if self._best is None else (self._value(self._best), self._best.fitness.values)

    @property
    def front(self) -> list[tuple[Any, tuple[float, ...]]]:
        """The non-dominated genomes of several objectives, and their values."""
        return [(self._value(individual), individual.fitness.values) for individual in self._front]

    def _value(self, individual: Individual) -> Any:
        return self.space.chosen(individual.genome)

    def ask(self) -> list[Any]:
        """Return the genomes without values of this generation, or of the next one if all have values.

        Empty if the search has ended: its algorithm, or after many generations without a new genome; or if all
        possible genomes have values.
        """
        idle = -1  # generations without a new genome, after the one that has values now
        while not self._open:
            with self._drawing():
                step = None if len(self._scores) >= self.space.size else next(self._steps, None)
            if step is None or idle == IDLE_GENERATIONS:
                self._steps = iter(())
                return []
            if isinstance(step, Evaluate):
                for individual in step.individuals:
                    individual.ident, self._numbered = self._numbered, self._numbered + 1
                    if individual.genome in self._scores:
                        self._score(individual)
                    else:
                        self._open.setdefault(self.space.key(self._value(individual)), []).append(individual)
            else:
                self.generation, idle = self.generation + 1, idle + 1
        return [self._value(first) for first, *_ in self._open.values()]

    def tell(self, genome: Any, values: float | Sequence[float], constraints: Sequence[float] = ()) -> None:
        """Set the values of a genome, one for each objective; ``inf`` for a failure.

        :meth:`ask` need not have returned the genome. ``constraints``: their values, see :func:`minimize`; one that is
        NaN or infinite is a failure, too.
        """
        if isinstance(self.space, Genes):
            (genome,) = listed([genome], self.space, "tell")
        scores = _numbers(values, "values")
        if len(scores) != len(self._signs):
            raise InputError(f"expected {len(self._signs)} values, got {len(scores)}", "tell")
        excess = violation(_numbers(constraints, "constraints"))
        if not all(map(math.isfinite, (*scores, excess))):
            scores, excess = worst(self._signs), 0.0
        with blamed_on("tell"):
            individuals = self._open.pop(self.space.key(genome), None) or [self._unrequested(genome)]
        self._learn(individuals, scores, excess)

    def _learn(self, individuals: Sequence[Individual], values: tuple[float, ...], excess: float) -> None:
        first = individuals[0]
        if self._history:
            failure = None if all(map(math.isfinite, values)) else "no finite value"
            name = {"reference": f"told {len(self._scored)}"} if first.ident is None else {"candidate": first.ident}
            line: Line = {**name, "genome": first.genome}
            if first.ident is not None:
                line |= {"generation": self.generation, "parents": list(first.parents), "memo": False}
            with stopping_at_full_disks(self._folder):
                self._history.write(line | scored(Evaluation(values, failure=failure, violation=excess)), sync=True)
        self._scored.append((first.ident, first.genome, values, excess))
        for individual in individuals:  # genomes may differ and have equal values, as numbers are rounded
            self._scores[individual.genome] = values, excess
            self._score(individual)

    def _replay(self, score: _Score) -> None:
        number, genome, values, excess = score
        if number is not None and number >= self._numbered:
            self.ask()
        key = self.space.key(self.space.chosen(genome))
        if (number is None) != (key not in self._open):
            raise InputError("its search cannot be continued exactly: code or operators changed", f"candidate {number}")
        self._learn(self._open.pop(key, []) or [self.space.individual(genome, self._signs)], values, excess)

    def _unrequested(self, value: Any) -> Individual:
        individual = self.space.individual(self.space.encoded(value), self._signs)
        if individual.genome in self._scores:
            raise InputError(f"{cut_repr(value)} has values already")
        return individual

    def _score(self, individual: Individual) -> None:
        individual.fitness.assign(*self._scores[individual.genome])
        if self._best is None or individual.fitness > self._best.fitness:
            self._best = deepcopy(individual)
        if len(self._signs) > 1:
            self._front.update([individual])

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Use the random state of this search."""
        with preserve_random_state():
            random.setstate(self._draws[0])
            numpy.random.set_state(self._draws[1])
            try:
                yield
            finally:
                self._draws = random.getstate(), numpy.random.get_state()


def _numbers(values: Any, argument: str) -> tuple[float, ...]:
    """Return the number or numbers ``values`` as floats. Raises :class:`InputError` of ``argument`` for others."""
    try:
        return tuple(map(float, numpy.ravel(values).tolist()))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"expected numbers, got {cut_repr(values)}", f"tell: {argument}") from None


def _unpickled(arguments: Mapping[str, Any], scores: Sequence[_Score], numbered: int) -> Search:
    search = Search(**arguments)
    for score in scores:
        search._replay(score)
    if search._numbered < numbered:
        search.ask()
    return search
