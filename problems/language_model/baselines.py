"""The limits of a search, and known solutions: its first genomes and references, and exports to compare with."""

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
    """The budgets in ``settings``, over the genes of ``transform``; ``facts``: measurements of the machine."""

    def __init__(self, settings: ProblemSettings, transform: Stack, facts: Mapping[str, Any]) -> None:
        """Raise :class:`evoprune.InputError` for ``facts`` that no budget measured."""
        self._settings, self._transform, self._facts = settings, transform, facts
        if facts and self.measuring is None:
            raise InputError("holds what another problem.budget measured", "measured.json")
        if facts and self.measuring:
            self.measuring.settle(transform, facts)

    @cached_property
    def budget(self) -> Budget | None:
        """The limit of the search, if there is one."""
        if (chosen := self._settings.budget) is None:
            return None
        budget = self._counted(chosen, "problem.budget")
        if budget.limit is None:
            raise InputError("names no limit: give one of its parameters", "problem.budget")
        return budget

    @cached_property
    def traded(self) -> list[Budget]:
        """The budgets whose amounts are objectives; their limits, if they have any, choose the result."""
        return [self._counted(each, "problem.trade_offs") for each in self._settings.traded]

    @property
    def all(self) -> list[Budget]:
        return [self.budget] if self.budget else self.traded

    @cached_property
    def measuring(self) -> MeasuredBudget | None:
        """The budget that measures the machine, if one does."""
        chosen = filter(None, (self._settings.budget, *self._settings.traded))
        budgets = (budget_of(each, "problem.budget") for each in chosen)
        return next((each for each in budgets if isinstance(each, MeasuredBudget)), None)

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """Return the place in ``front`` of the best score within the limits; else of the least excess.

        A row of ``front`` has the score, then the amounts.
        """

        def rank(at: int) -> tuple[float, float]:
            score, *spent = front[at]
            both = zip(spent, self.traded, strict=True)
            over = sum(max(0.0, own - budget.limit) / budget.scale for own, budget in both if budget.limit is not None)
            return (over if over > ROUNDING else 0.0), score

        return min(range(len(front)), key=rank)

    def _counted(self, chosen: Choice, key: str) -> Budget:
        budget = budget_of(chosen, key)
        if isinstance(budget, MeasuredBudget):
            return budget.budget(self._transform, self._facts)
        return budget(self._transform)


class Baselines:
    """The dense model, and uniform ones."""

    def __init__(self, session: Session, limits: Limits, uniform: bool = True) -> None:
        """``uniform``: whether a uniform model is among them."""
        self._session, self._transform, self._limits, self._uniform = session, session.transform, limits, uniform

    @cached_property
    def _share(self) -> float | None:
        budget = self._limits.budget
        # the limit of a preset alone is more than any genome spends: see _alone
        if budget is None or not self._uniform or (budget.limit or 0.0) > budget.most:
            return None
        return uniform_share(self._transform, budget)

    @cached_property
    def uniform(self) -> Genomes:
        """The uniform genome that takes the least from each gene within the budget, by its name; none without one."""
        return {} if self._share is None else {UNIFORM: self._transform.uniform(self._share)}

    @property
    def references(self) -> Genomes:
        """Genomes that are scored in addition to the search."""
        return {"dense": self._transform.dense} | self._transform.references(self._share)

    @property
    def compared(self) -> Genomes:
        """Genomes that each measurement of the result is compared with; a limit may be of another machine."""
        return {"dense": self._transform.dense} | ({} if self._limits.measuring else self.uniform)

    def initial_genomes(self) -> list[list[float]]:
        """Return the first genomes of a search; no result is worse on the search text."""
        if budget := self._limits.budget:
            return [*self.uniform.values(), *initial_within(self._transform, budget)]
        known = [*self.references.values(), *self._transform.initial_genomes()] if self._limits.traded else []
        return [list(genome) for genome in dict.fromkeys(map(tuple, known)) if self._transform.genes.allow(genome)]

    def random_genome(self) -> list[float]:
        """Draw each gene; for trade-offs a random share of the genes, and the others as in the dense model."""
        drawn = self._transform.random_genome(self._share)
        if not self._limits.traded:
            return drawn
        share, both = random.random(), zip(drawn, self._transform.dense, strict=True)
        return [own if random.random() < share else dense for own, dense in both]


@dataclass(frozen=True)
class Baseline:
    """A model to compare results of runs with; ``family``: the folder of the export.

    ``name``: of the export; empty for a model of a single run.
    """

    family: str
    name: str
    make: ModelMaker


def baselines_of(problem: Any) -> Iterator[Baseline]:
    """Yield the references of a run, recovered as its result is, the dense model, and llama.cpp's presets."""
    known: Mapping[str, Sequence[float]] = problem.references()
    recover = problem.settings.recover
    recovered = _recovered_by(problem, recover and recover.model_copy(update={"alike": None}))  # the run trained those
    dense = _recovered_by(problem, None)
    for name, genome in known.items():
        same, own = (dense, name) if name == "dense" else (recovered, "")
        yield Baseline(name, own, partial(_made, same, genome, known))
    kind, settings = type(problem), problem.settings
    del problem, recovered, dense, same  # the model is not needed any more, and there may be no room for two
    for place, (transform, its_own) in enumerate(settings.chosen_transforms):
        for name, make in transform.presets_alone(its_own, partial(_alone, kind, settings, place)).items():
            yield Baseline("presets", name, make)


def _made(problem: Any, genome: Sequence[float], known: Mapping[str, Sequence[float]]) -> Any:
    return problem, genome, known


def _recovered_by(problem: LanguageModel, recover: Any) -> LanguageModel:
    """Return ``problem`` with the loaded model, and with other settings of the recovery, or None."""
    same = copy(problem)
    same.settings = problem.settings.model_copy(update={"recover": recover})
    return same


def _alone(kind: Any, settings: Any, place: int, of_transform: Any) -> Any:
    chosen = Choice(use=settings.transforms[place].use, **of_transform.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
