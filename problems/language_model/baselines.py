"""The limits of a search and its baselines: first genomes, references, and exports to compare results with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from evoprune import Budget, InputError
from evoprune.experiment.spec import Choice
from evoprune.interfaces.budget import ROUNDING
from evoprune.problems.language_model.budgets import MeasuredBudget
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.settings import ProblemSettings, budget_of
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.stack import Stack, initial_within, uniform_share
from evoprune.problems.language_model.transforms.transform import ModelMaker

if TYPE_CHECKING:
    from evoprune.problems.language_model.problem import LanguageModel

Genomes = dict[str, list[float]]

_NO_LIMIT = 10**15
"""More bytes than a model has."""


class Limits:
    """The budgets in ``settings`` over the genes of ``transform``; ``facts``: measurements of the machine."""

    def __init__(self, settings: ProblemSettings, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Raise :class:`evoprune.InputError` for ``facts`` of another budget."""
        self._settings, self._transform, self._facts = settings, transform, facts
        if facts and self.measured_budget is None:
            raise InputError("holds what another problem.budget measured", "measured.json")
        if facts and self.measured_budget:
            self.measured_budget.settle(transform, facts)

    @cached_property
    def budget(self) -> Budget | None:
        """The limit of the search, if any."""
        if (chosen := self._settings.budget) is None:
            return None
        budget = self._counted(chosen, "problem.budget")
        if budget.limit is None:
            raise InputError("names no limit: give one of its parameters", "problem.budget")
        return budget

    @cached_property
    def trade_offs(self) -> list[Budget]:
        """The budgets whose amounts are objectives; their optional limits choose the result."""
        return [self._counted(each, "problem.trade_offs") for each in self._settings.trade_off_budgets]

    @property
    def budgets(self) -> list[Budget]:
        return [self.budget] if self.budget else self.trade_offs

    @cached_property
    def measured_budget(self) -> MeasuredBudget | None:
        """The budget that measures the machine, if any."""
        chosen = filter(None, (self._settings.budget, *self._settings.trade_off_budgets))
        budgets = (budget_of(each, "problem.budget") for each in chosen)
        return next((each for each in budgets if isinstance(each, MeasuredBudget)), None)

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """Return the index in ``front`` of the best score within the limits, otherwise of the least excess.

        A row of ``front`` has the score, then the amounts.
        """

        def rank(at: int) -> tuple[float, float]:
            score, *spent = front[at]
            pairs = zip(spent, self.trade_offs, strict=True)
            over = sum(max(0.0, used - each.limit) / each.scale for used, each in pairs if each.limit is not None)
            return (over if over > ROUNDING else 0.0), score

        return min(range(len(front)), key=rank)

    def _counted(self, chosen: Choice, key: str) -> Budget:
        budget = budget_of(chosen, key)
        if isinstance(budget, MeasuredBudget):
            return budget.budget(self._transform, self._facts)
        return budget(self._transform)


class Baselines:
    """The dense model, and uniform ones unless ``uniform`` is False."""

    def __init__(self, session: Session, limits: Limits, uniform: bool = True) -> None:
        self._session, self._transform, self._limits, self._uniform = session, session.transform, limits, uniform

    @cached_property
    def _share(self) -> float | None:
        budget = self._limits.budget
        # the limit of a preset is above every genome: see _preset_problem
        if budget is None or not self._uniform or (budget.limit or 0.0) > budget.most:
            return None
        return uniform_share(self._transform, budget)

    @cached_property
    def uniform(self) -> Genomes:
        """The uniform genome of the least share within the budget, by name; empty without a budget."""
        return {} if self._share is None else {UNIFORM: self._transform.uniform(self._share)}

    @property
    def references(self) -> Genomes:
        """Genomes that a run scores in addition to its search."""
        return {"dense": self._transform.dense} | self._transform.references(self._share)

    @property
    def compared(self) -> Genomes:
        """Genomes that every measurement of the result includes; none of a limit of this machine."""
        return {"dense": self._transform.dense} | ({} if self._limits.measured_budget else self.uniform)

    def initial_genomes(self) -> list[list[float]]:
        """Return the first genomes of a search, so that no result is worse on the search text."""
        if budget := self._limits.budget:
            return [*self.uniform.values(), *initial_within(self._transform, budget)]
        genomes = [*self.references.values(), *self._transform.initial_genomes()] if self._limits.trade_offs else []
        return [list(genome) for genome in dict.fromkeys(map(tuple, genomes)) if self._transform.genes.allow(genome)]

    def random_genome(self) -> list[float]:
        """Draw each gene; with trade-offs, a random share of the genes, and the others as in the dense model."""
        drawn = self._transform.random_genome(self._share)
        if not self._limits.trade_offs:
            return drawn
        share, pairs = random.random(), zip(drawn, self._transform.dense, strict=True)
        return [value if random.random() < share else dense for value, dense in pairs]


@dataclass(frozen=True)
class Baseline:
    """A model to export and compare results with; ``family``: folder of the export.

    ``name``: of the export; empty for a model of a single run.
    """

    family: str
    name: str
    make: ModelMaker


def baselines_of(problem: Any) -> Iterator[Baseline]:
    """Yield the references of a run, recovered as its result is, the dense model, and llama.cpp's presets."""
    references: Mapping[str, Sequence[float]] = problem.references()
    recover = problem.settings.recover
    recovered = _with_recovery(problem, recover and recover.model_copy(update={"alike": None}))  # the run trained them
    dense = _with_recovery(problem, None)
    for name, genome in references.items():
        base, file = (dense, name) if name == "dense" else (recovered, "")
        yield Baseline(name, file, partial(_model, base, genome, references))
    kind, settings = type(problem), problem.settings
    del problem, recovered, dense, base  # there may be no memory for a second model
    for place, (transform, options) in enumerate(settings.chosen_transforms):
        for name, make in transform.presets_alone(options, partial(_preset_problem, kind, settings, place)).items():
            yield Baseline("presets", name, make)


def _model(problem: Any, genome: Sequence[float], references: Mapping[str, Sequence[float]]) -> Any:
    return problem, genome, references


def _with_recovery(problem: LanguageModel, recover: Any) -> LanguageModel:
    """Return ``problem`` with the same model in memory, and other settings of the recovery, or None."""
    other = copy(problem)
    other.settings = problem.settings.model_copy(update={"recover": recover})
    return other


def _preset_problem(kind: Any, settings: Any, place: int, options: Any) -> Any:
    """Return a problem of the transform at ``place`` alone, with other ``options``."""
    chosen = Choice(use=settings.transforms[place].use, **options.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
