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


def rivals(
    problem: LanguageModel, known: Mapping[str, Sequence[float]], transforms: Sequence[tuple[Any, Any]]
) -> Iterator[Rival]:
    """The dense model, and others of ``known``, recovered as results are; then those that ``transforms`` know.

    ``transforms``: the class of each of the problem's, and its settings.
    """
    for name, genome in known.items():
        one = name == "dense"  # the same for all runs
        yield Rival(name, name if one else "", partial(_given, _unrecovered(problem) if one else problem, genome))
    for place, (kind, own) in enumerate(transforms):
        yield from kind.rivals(own, partial(_alone, problem, place))


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
