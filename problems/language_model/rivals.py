"""What a front compares its exports with: the known solutions of each run, and what others make of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from evoprune import Choice, Rival

if TYPE_CHECKING:
    from problems.language_model.problem import LanguageModel

_NO_LIMIT = 10**15
"""More bytes than a model has."""


def own(problem: LanguageModel, known: Mapping[str, Sequence[float]]) -> Iterator[Rival]:
    """Of a run: those of ``known`` that depend on it, recovered as its result is."""
    for name, genome in known.items():
        if name != "dense":
            yield Rival(name, "", partial(_given, problem, genome))


def common(problem: LanguageModel, transforms: Sequence[tuple[Any, Any]]) -> Iterator[Rival]:
    """Of all runs: the dense model, and those that ``transforms``, each a class and its settings, know."""
    yield Rival("dense", "dense", partial(_given, _unrecovered(problem), problem.session.transform.dense))
    for place, (kind, settings) in enumerate(transforms):
        yield from kind.rivals(settings, partial(_alone, problem, place))


def _given(problem: LanguageModel, genome: Sequence[float]) -> tuple[LanguageModel, Sequence[float]]:
    return problem, genome


def _unrecovered(problem: LanguageModel) -> LanguageModel:
    """``problem`` with the model that it has loaded, and without recovery."""
    same = copy(problem)
    same.settings = problem.settings.model_copy(update={"recover": None})
    return same


def _alone(problem: LanguageModel, place: int, settings: Any) -> LanguageModel:
    """The problem of one transform alone, with other ``settings``, without a limit to speak of and without recovery."""
    chosen = Choice(use=problem.settings.transforms[place].use, **settings.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return type(problem)(problem.settings.model_copy(update=changed))
