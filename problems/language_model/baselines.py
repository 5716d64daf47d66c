"""The baselines of a search: first genomes, references, and exports to compare results with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from evoprune.plugins import Choice
from evoprune.problems.language_model.budgets.limits import Limits
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.first_genomes import (
    initial_within,
    random_genome,
    references,
    uniform_share,
)
from evoprune.problems.language_model.transforms.transform import ModelMaker

Genomes = dict[str, list[float]]

_NO_LIMIT = 10**15
"""More bytes than a model has."""


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
        return {"dense": self._transform.dense} | references(self._transform, self._share)

    @property
    def compared(self) -> Genomes:
        """Genomes to measure with each result: dense, and uniform unless its limit depends on the machine."""
        return {"dense": self._transform.dense} | ({} if self._limits.measured_budget else self.uniform)

    def initial_genomes(self) -> list[list[float]]:
        """Return the first genomes of a search, so that no result is worse on the search text."""
        budget = self._limits.budget
        return [*self.uniform.values(), *initial_within(self._transform, budget)] if budget else []

    def random_genome(self) -> list[float]:
        return random_genome(self._transform, self._share)


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
    recovered = _with_recovery(problem, recover and recover.alone())  # the run trained them
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


def _with_recovery(problem: Any, recover: Any) -> Any:
    """Return ``problem`` with the same model in memory, and other settings of the recovery, or None."""
    other = copy(problem)
    other.settings = problem.settings.model_copy(update={"recover": recover})
    return other


def _preset_problem(kind: Any, settings: Any, place: int, options: Any) -> Any:
    """Return a problem of the transform at ``place`` alone, with other ``options``."""
    chosen = Choice(use=settings.transforms[place].use, **options.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
