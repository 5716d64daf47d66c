"""Scores: the importance of each weight. Imports no torch.

A score is a function of a layer's weight ``(out, in)``, float32, and of the statistics that its keyword parameters name
(:mod:`evoprune.problems.language_model.calibration`). It returns a score for each weight ``(out, in)``; the lowest are
removed first.
"""

import inspect
from collections.abc import Callable
from typing import Any

from evoprune import InputError
from evoprune.plugins import find_plugin
from evoprune.problems.language_model.scores.formula import FormulaScore, FormulaSettings

SCORES = "evoprune.scores"  # the group of entry points

Score = Callable[..., Any]  # Any: a tensor


def by_row(score: Score) -> Score:
    """Mark a score whose values are comparable within an output row only, and not in the whole matrix."""
    setattr(score, "scope", "row")  # noqa: B010 - functions have no such attribute to mypy
    return score


def scope_of(score: Score) -> str:
    """Return the set within which weights are ranked: ``row`` or ``matrix``."""
    return str(getattr(score, "scope", "matrix"))


def needs(score: Score) -> frozenset[str]:
    """Return the names of the statistics that ``score`` reads."""
    if isinstance(score, FormulaScore):
        return score.needs
    return frozenset(list(inspect.signature(score).parameters)[1:])


def source(score: Score) -> str:
    """Return the source code of the module of ``score``, which has its helpers; empty if it cannot be read."""
    try:
        return inspect.getsource(inspect.getmodule(score))  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""


def find_score(name: str | FormulaSettings) -> Score:
    """Return the score called ``name``, or of a formula."""
    if isinstance(name, FormulaSettings):
        return name.score()
    from evoprune.problems.language_model.calibration import gradients, statistics  # import torch

    score: Score = find_plugin(SCORES, name)
    names = statistics.NAMES | {gradients.SQUARES}
    try:
        unknown = needs(score) - names
    except (TypeError, ValueError):
        raise InputError(f"problem.score: '{name}' is not a function of a weight and its statistics") from None
    if unknown:
        wanted, available = (", ".join(sorted(group)) for group in (unknown, names))
        raise InputError(f"problem.score: '{name}' asks for {wanted}; the statistics there are: {available}")
    return score
