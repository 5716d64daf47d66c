"""What a front compares its exports with: the known solutions of each run, and what others make of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from evoprune import Choice, Rival

if TYPE_CHECKING:
    from problems.language_model.problem import LanguageModel

Known = Mapping[str, Sequence[float]]
Made = tuple["LanguageModel", Sequence[float], Known]

_NO_LIMIT = 10**15
"""More bytes than a model has."""


def own(problem: LanguageModel, known: Known, first: bool) -> Iterator[Rival]:
    """The ``known`` solutions of a run, recovered as its result is; dense is the same for all, and is not trained."""
    recover = problem.settings.recover
    alone = _recovered_by(problem, recover and recover.model_copy(update={"alike": None}))  # the run has trained those
    for name, genome in known.items():
        if name != "dense":
            yield Rival(name, "", partial(_given, alone, genome, known))
        elif first:
            yield Rival(name, name, partial(_given, _recovered_by(problem, None), genome, known))


def of_others(kind: type[LanguageModel], settings: Any, transforms: Sequence[tuple[Any, Any]]) -> Iterator[Rival]:
    """Those that ``transforms``, each a class and its settings, know. ``kind``: the class of the problem."""
    for place, (transform, its_own) in enumerate(transforms):
        yield from transform.rivals(its_own, partial(_alone, kind, settings, place))


def _given(problem: LanguageModel, genome: Sequence[float], known: Known) -> Made:
    return problem, genome, known


def _recovered_by(problem: LanguageModel, recover: Any) -> LanguageModel:
    """``problem`` with the model that it has loaded, and with other settings of its recovery, or None."""
    same = copy(problem)
    same.settings = problem.settings.model_copy(update={"recover": recover})
    return same


def _alone(kind: type[LanguageModel], settings: Any, place: int, of_transform: Any) -> LanguageModel:
    """The problem of one transform alone, with other settings, without a limit to speak of and without recovery."""
    chosen = Choice(use=settings.transforms[place].use, **of_transform.model_dump(mode="json"))
    changed = {"transforms": (chosen,), "budget": Choice(use="bytes", at_most=_NO_LIMIT), "recover": None}
    return kind(settings.model_copy(update=changed))
