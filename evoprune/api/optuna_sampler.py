"""Ask and tell as a sampler of Optuna, whose trials may end in any order, in several threads and processes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from evoprune.api.arguments import Operator, Operators
from evoprune.api.ask_tell import Search
from evoprune.console.errors import InputError
from evoprune.experiment.spec import AUTO
from evoprune.interfaces.genes import Gene

try:
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.search_space import IntersectionSearchSpace
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise InputError("needs another package: pip install 'evoprune[optuna]'", "OptunaSampler") from None

_Space = dict[str, Any]


class OptunaSampler(BaseSampler):
    """A sampler of Optuna that asks a :class:`evoprune.Search` with the same arguments.

    The search is over the parameters that all finished trials have in common; others, and all before the first trial
    ends, are drawn at random. It also learns from trials of other samplers and processes, and begins with the best.
    Failed and pruned trials are failures.
    """

    def __init__(
        self, *, algorithm: Operator = AUTO, operators: Operators | None = None, population: int | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self._arguments: dict[str, Any] = {"algorithm": algorithm, "operators": operators, "population": population}
        self._arguments["seed"] = seed
        self._random = RandomSampler(seed)
        self._common = IntersectionSearchSpace(include_pruned=True)
        self._lock = threading.Lock()
        self._begin({}, [], [])

    def _begin(self, space: _Space, signs: Sequence[int], finished: Sequence[FrozenTrial]) -> None:
        """Begin a search of ``space`` at the best of ``finished`` trials."""
        self._space, self._signs = space, signs
        self._asked: dict[int, tuple[Any, ...]] = {}  # genomes of running trials
        self._told: set[int] = set()
        self._known: set[tuple[Any, ...]] = set()
        if space:
            scored = [trial for trial in finished if trial.state == TrialState.COMPLETE]
            best = min(scored, key=self._values, default=None)
            initial = [self._genome(best)] if best else []
            genes = [_gene(name, distribution) for name, distribution in space.items()]
            self._search = Search(genes, objectives=len(signs), initial=initial, **self._arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def reseed_rng(self) -> None:
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> _Space:  # noqa: ARG002
        with self._lock:
            common = self._common.calculate(study)
        return {name: distribution for name, distribution in common.items() if not distribution.single()}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: _Space) -> dict[str, Any]:
        """Return a genome of the generation that no running trial has; nothing, so a random one, if there is none."""
        if not search_space:
            return {}
        with self._lock:
            trials = [
                one for one in study.get_trials(deepcopy=False) if search_space.items() <= one.distributions.items()
            ]
            finished = [one for one in trials if one.state.is_finished()]
            if search_space != self._space:
                signs = [-1 if direction == StudyDirection.MAXIMIZE else 1 for direction in study.directions]
                self._begin(search_space, signs, finished)
            for one in finished:
                self._learn(one)
            running = {self._genome(one) for one in trials if one.state == TrialState.RUNNING}
            taken = running | {*self._asked.values()}
            genome = next((each for each in map(tuple, self._search.ask()) if each not in taken), None)
            if genome is None:
                return {}
            self._asked[trial.number] = genome
        pairs = zip(search_space.items(), genome, strict=True)
        return {name: _decoded(distribution, value) for (name, distribution), value in pairs}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _learn(self, trial: FrozenTrial) -> None:
        if trial.number in self._told:
            return
        self._told.add(trial.number)
        genome = self._asked.pop(trial.number, None) or self._genome(trial)
        if genome not in self._known:  # another process may have had the same
            self._known.add(genome)
            self._search.tell(genome, self._values(trial))

    def _values(self, trial: FrozenTrial) -> list[float]:
        if trial.state != TrialState.COMPLETE:
            return [float("inf")] * len(self._signs)
        return [sign * value for sign, value in zip(self._signs, trial.values, strict=True)]

    def _genome(self, trial: FrozenTrial) -> tuple[Any, ...]:
        return tuple(_encoded(distribution, trial.params[name]) for name, distribution in self._space.items())


def _has_steps(distribution: Any) -> bool:
    return not isinstance(distribution, CategoricalDistribution) and bool(distribution.step and not distribution.log)


def _gene(name: str, distribution: Any) -> Gene:
    """Return the gene of a parameter: the place of a choice or step, or a number."""
    if isinstance(distribution, CategoricalDistribution):
        return Gene.choice(name, range(len(distribution.choices)))
    if _has_steps(distribution):
        return Gene.integer(name, 0, round((distribution.high - distribution.low) / distribution.step))
    return (Gene.log if distribution.log else Gene)(name, distribution.low, distribution.high)


def _encoded(distribution: Any, value: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return round(distribution.to_internal_repr(value))
    if _has_steps(distribution):
        return round((value - distribution.low) / distribution.step)
    return float(value)


def _decoded(distribution: Any, value: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[value]
    value = distribution.low + value * distribution.step if _has_steps(distribution) else value
    value = round(value) if isinstance(distribution, IntDistribution) else value
    return min(max(value, distribution.low), distribution.high)
