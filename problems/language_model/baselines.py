"""Known solutions, which a search starts from, is scored beside and is compared with; and those of others."""

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

from evoprune import Budget
from evoprune.experiment.registry import find_plugin
from evoprune.experiment.spec import Choice
from evoprune.interfaces.budget import ROUNDING
from evoprune.problems.language_model.allocations import ALLOCATIONS
from evoprune.problems.language_model.budgets.amounts import weights
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.settings import UNIFORM, PruningSettings, uniform_name
from evoprune.problems.language_model.transforms.genomes import initial_within, uniform_within
from evoprune.problems.language_model.transforms.options import ModelMaker
from evoprune.problems.language_model.transforms.weights.transform import Weights

Genomes = dict[str, list[float]]

_NO_LIMIT = 10**15
"""More bytes than a model has."""


class Baselines:
    """The dense model; under a budget also the uniform one, and the genomes that the transform recommends."""

    prior: list[float] | None = None
    setup_cost = 0.0

    def __init__(self, session: Session, budget: Budget | None, traded: bool = False) -> None:
        self._session, self._budget, self._traded = session, budget, traded

    @cached_property
    def contenders(self) -> Genomes:
        """Genomes that may win the finals: the uniform one that takes the least from each gene within the budget."""
        return {UNIFORM: uniform_within(self._session.transform, self._budget)} if self._budget else {}

    @property
    def references(self) -> Genomes:
        return {"dense": self._session.transform.dense} | self.contenders

    @property
    def compared(self) -> Genomes:
        """Genomes that each measurement of the result is compared with."""
        return self.references

    def initial_genomes(self) -> list[list[float]]:
        """Return the first genomes of a search: no result is worse than these on the search text."""
        transform = self._session.transform
        if self._budget:
            return [*self.contenders.values(), *initial_within(transform, self._budget)]
        known = [transform.dense, *transform.initial_genomes()] if self._traded else []
        return [list(genome) for genome in dict.fromkeys(map(tuple, known))]

    def random_genome(self) -> list[float]:
        """Draw each gene; for trade-offs a random share of them, and the others as in the dense model."""
        drawn = self._session.transform.genes.random()
        if not self._traded:
            return drawn
        share, both = random.random(), zip(drawn, self._session.transform.dense, strict=True)
        return [own if random.random() < share else dense for own, dense in both]


class _Found(NamedTuple):
    """An allocation without search, and the tokens of the search text scored to find it."""

    genome: list[float]
    tokens: int


class SparsityBaselines(Baselines):
    """For sparsities as genes: the dense model, uniform at several sparsities, and allocations without search."""

    def __init__(self, session: Session, budget: Budget | None, settings: PruningSettings) -> None:
        super().__init__(session, budget)
        self._settings = settings
        pruned = session.transform.part(Weights)
        assert pruned
        self._cut: Weights = pruned

    @property
    def contenders(self) -> Genomes:
        if self._settings.trade_offs or not self._settings.sparsity:
            return {}
        return {UNIFORM: self._cut.uniform(self._settings.sparsity)} | self._allocations

    @property
    def references(self) -> Genomes:
        target = self._settings.sparsity
        sparsities = [*sorted({*self._settings.curve, target}), target]  # last again: others may round to its name
        curve = {uniform_name(sparsity): self._cut.uniform(sparsity) for sparsity in sparsities if sparsity}
        return {"dense": self._cut.dense} | curve | self._allocations

    @property
    def compared(self) -> Genomes:
        return {"dense": self._cut.dense, UNIFORM: self._cut.uniform(self._settings.sparsity)}

    def initial_genomes(self) -> list[list[float]]:
        """Return the genomes that the settings name; without a target, uniform is all sparsities of the curve."""
        settings = self._settings
        sparsities = {settings.sparsity, *(settings.curve if settings.trade_offs else ())}
        within = [s for s in sorted(sparsities) if settings.min_sparsity <= s <= settings.max_sparsity]
        named = {name: [found.genome] for name, found in self._found.items()}
        named[UNIFORM] = [self._cut.uniform(sparsity) for sparsity in within]
        return list(chain.from_iterable(named[name] for name in settings.initial_genomes))

    def random_genome(self) -> list[float]:
        """Draw genes within ``initial_spread`` of uniform at the target; without one, at any sparsity."""
        settings = self._settings
        low, up = settings.min_sparsity, settings.max_sparsity
        centre = random.uniform(low, up) if settings.trade_offs else settings.sparsity
        return self._cut.sparsities.random_near(centre, settings.initial_spread)

    @property
    def prior(self) -> list[float] | None:  # type: ignore[override]
        return self._found[self._settings.prior].genome if self._settings.prior else None

    @property
    def setup_cost(self) -> float:  # type: ignore[override]
        """Tokens of the search text scored for the first genomes and the prior, without calibration."""
        used = {*self._settings.initial_genomes, self._settings.prior}
        return float(sum(self._found[name].tokens for name in self._settings.found if name in used))

    @property
    def _allocations(self) -> Genomes:
        return {name: self._found[name].genome for name in self._settings.allocations}

    @cached_property
    def _found(self) -> dict[str, _Found]:
        return {name: self._find(name) for name in self._settings.found}

    def _find(self, name: str) -> _Found:
        fitness = self._session.fitness
        before = fitness.tokens_scored
        at_target = weights(
            self._session.transform, removed=self._settings.sparsity
        )  # also where they are an objective
        genome = find_plugin(ALLOCATIONS, name)(self._cut, at_target, fitness.loss)
        return _Found(genome, fitness.tokens_scored - before)


def choose(front: Sequence[tuple[float, ...]], traded: Sequence[Budget]) -> int:
    """Return the place in ``front`` of the best score within the limits of ``traded``; else of the least excess."""

    def rank(at: int) -> tuple[float, float]:
        score, *spent = front[at]
        both = zip(spent, traded, strict=True)
        over = sum(max(0.0, own - budget.limit) / budget.scale for own, budget in both if budget.limit is not None)
        return (over if over > ROUNDING else 0.0), score

    return min(range(len(front)), key=rank)


@dataclass(frozen=True)
class Baseline:
    """A model that the results of runs are compared with, and the folder (``family``) of its export.

    ``name``: of its export; empty for one of a single run.
    """

    family: str
    name: str
    make: ModelMaker


def baselines_of(problem: Any) -> Iterator[Baseline]:
    """Yield the references of a run, recovered as its result is, the dense model, and llama.cpp's presets."""
    known: Mapping[str, Sequence[float]] = problem.references()
    recover = problem.settings.recover
    alone = _recovered_by(problem, recover and recover.model_copy(update={"alike": None}))  # the run has trained those
    for name, genome in known.items():
        if name == "dense":
            yield Baseline(name, name, partial(_made, _recovered_by(problem, None), genome, known))
        else:
            yield Baseline(name, "", partial(_made, alone, genome, known))
    kind, settings = type(problem), problem.settings
    del problem, alone  # the model is not needed any more, and there may be no room for two
    for place, (transform, its_own) in enumerate(settings.chosen_transforms):
        alone = partial(_alone, kind, settings, place)
        for name, make in transform.presets_alone(its_own, alone).items():
            yield Baseline("presets", name, make)


def _made(problem: Any, genome: Sequence[float], known: Mapping[str, Sequence[float]]) -> Any:
    return problem, genome, known


def _recovered_by(problem: Any, recover: Any) -> Any:
    """Return ``problem`` with its loaded model, and with other settings of its recovery, or None."""
    same = copy(problem)
    same.settings = problem.settings.model_copy(update={"recover": recover})
    return same


def _alone(kind: Any, settings: Any, place: int, of_transform: Any) -> Any:
    chosen = Choice(use=settings.transforms[place].use, **of_transform.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
