"""The properties of a score: the statistics it needs, and the set within which it compares weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch

from evoprune import InputError, find_plugin
from problems.calibration import activations, gradients
from problems.scores import SCORES

Score = Callable[..., torch.Tensor]


def by_row(score: Score) -> Score:
    """Mark a score whose values are comparable within an output row only, and not in the whole matrix."""
    setattr(score, "scope", "row")  # noqa: B010 - functions have no such attribute to mypy
    return score


def scope_of(score: Score) -> str:
    """The set within which weights are compared if the setting is ``auto``: ``row`` or ``matrix``."""
    return str(getattr(score, "scope", "matrix"))


def needs(score: Score) -> frozenset[str]:
    """The names of the statistics that ``score`` reads."""
    return frozenset(list(inspect.signature(score).parameters)[1:])


def source(score: Score) -> str:
    """The source of the module of ``score``, where its helpers are too; empty where there is none to read."""
    try:
        return inspect.getsource(inspect.getmodule(score))  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""


def find_score(name: str) -> Score:
    """The score called ``name``. Raises :class:`evoprune.InputError` if there is none, or it cannot be used."""
    score: Score = find_plugin(SCORES, name)
    known = activations.NAMES | gradients.NAMES
    try:
        unknown = needs(score) - known
    except (TypeError, ValueError):
        raise InputError(f"problem.score: '{name}' is not a function of a weight and its statistics") from None
    if unknown:
        raise InputError(
            f"problem.score: '{name}' asks for {', '.join(sorted(unknown))}; "
            f"the statistics there are: {', '.join(sorted(known))}"
        )
    return score
