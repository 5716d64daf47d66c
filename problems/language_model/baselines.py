"""Known solutions, which a search starts from, is scored beside and is compared with; and those of others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from evoprune.experiment.spec import Choice
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.limits import Limits
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.genomes import initial_within, uniform_share
from evoprune.problems.language_model.transforms.options import ModelMaker

if TYPE_CHECKING:
    from evoprune.problems.language_model.problem import LanguageModel

Genomes = dict[str, list[float]]

_NO_LIMIT = 10**15
"""More bytes than a model has."""


class Baselines:
    """The dense model, uniform ones, and under a budget the allocations that the transform finds without a search."""

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
    def _allocations(self) -> Genomes:
        return self._transform.allocations(self._limits.budget, self._session.fitness.loss)

    @cached_property
    def uniform(self) -> Genomes:
        """The uniform genome that takes the least from each gene within the budget, by its name; none without one."""
        return {} if self._share is None else {UNIFORM: self._transform.uniform(self._share)}

    @property
    def contenders(self) -> Genomes:
        """Genomes that may win the finals."""
        return self.uniform | self._allocations

    @property
    def references(self) -> Genomes:
        """Genomes that are scored beside the search."""
        return {"dense": self._transform.dense} | self._transform.references(self._share) | self._allocations

    @property
    def compared(self) -> Genomes:
        """Genomes that each measurement of the result is compared with; a limit may be of another machine."""
        return {"dense": self._transform.dense} | ({} if self._limits.measuring else self.uniform)

    def initial_genomes(self) -> list[list[float]]:
        """Return the first genomes of a search: no result is worse than these on the search text."""
        if budget := self._limits.budget:
            return [*self.uniform.values(), *initial_within(self._transform, budget)]
        traded = bool(self._limits.traded)
        known = [*self.references.values(), *self._transform.initial_genomes()] if traded else []
        return [list(genome) for genome in dict.fromkeys(map(tuple, known)) if self._transform.genes.allow(genome)]

    def random_genome(self) -> list[float]:
        """Draw each gene; for trade-offs a random share of them, and the others as in the dense model."""
        drawn = self._transform.random_genome(self._share)
        if not self._limits.traded:
            return drawn
        share, both = random.random(), zip(drawn, self._transform.dense, strict=True)
        return [own if random.random() < share else dense for own, dense in both]


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
    recovered = _recovered_by(problem, recover and recover.model_copy(update={"alike": None}))  # the run trained those
    for name, genome in known.items():
        if name == "dense":
            yield Baseline(name, name, partial(_made, _recovered_by(problem, None), genome, known))
        else:
            yield Baseline(name, "", partial(_made, recovered, genome, known))
    kind, settings = type(problem), problem.settings
    del problem, recovered  # the model is not needed any more, and there may be no room for two
    for place, (transform, its_own) in enumerate(settings.chosen_transforms):
        for name, make in transform.presets_alone(its_own, partial(_alone, kind, settings, place)).items():
            yield Baseline("presets", name, make)


def _made(problem: Any, genome: Sequence[float], known: Mapping[str, Sequence[float]]) -> Any:
    return problem, genome, known


def _recovered_by(problem: LanguageModel, recover: Any) -> LanguageModel:
    """Return ``problem`` with its loaded model, and with other settings of its recovery, or None."""
    same = copy(problem)
    same.settings = problem.settings.model_copy(update={"recover": recover})
    return same


def _alone(kind: Any, settings: Any, place: int, of_transform: Any) -> Any:
    chosen = Choice(use=settings.transforms[place].use, **of_transform.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
