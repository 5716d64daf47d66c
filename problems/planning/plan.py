"""Divides the time that was given among calibration, search and report."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evoprune import InputError
from problems.planning.recipe import Recipe
from problems.planning.subject import Subject
from problems.planning.texts import SEARCHED, Division
from problems.reconstruction import PASSES, UPDATED

_CALIBRATING, _REPORTING = 0.3, 0.15
"""Shares of the time, at most."""

_CALIBRATION, _REPORT = (8, 128), (8, 48)
"""Windows, at least and at most."""

_SCORED = 6
"""How often the report text is scored: dense, uniform and evolved, also updated."""

_LOADED = 2
"""How often the model is loaded after this: for the run, and for the export."""


@dataclass(frozen=True)
class Shares:
    """What the time is spent on. ``evaluations``: of ``searched`` windows each; ``seconds``: of all."""

    calibration: int
    report: int
    searched: int
    evaluations: float
    seconds: float


def share_out(recipe: Recipe, subject: Subject, text: Division, seconds: float) -> tuple[Recipe, Shares]:
    """``recipe``, or a cheaper one if that does not fit into ``seconds``, and what the time is spent on.

    Raises :class:`evoprune.InputError` if the time is too short for each.
    """
    while True:
        found, _ = _fitted(recipe, subject, text, seconds)
        if found:
            return recipe, found
        if (cheaper := recipe.cheaper()) is None:
            least = _least_minutes(recipe, subject, text)
            raise InputError(f"is too short for this model on this machine; expected at least {least}m", "--time")
        recipe = cheaper


def _least_minutes(recipe: Recipe, subject: Subject, text: Division) -> int:
    """The fewest into which ``recipe`` fits. What it needs grows with the time, of which some parts take a share."""
    minutes = 1
    while True:
        found, needed = _fitted(recipe, subject, text, 60 * minutes)
        if found:
            return minutes
        minutes = max(minutes + 1, math.ceil(needed / 60))


def _fitted(recipe: Recipe, subject: Subject, text: Division, seconds: float) -> tuple[Shares | None, float]:
    """What fits into ``seconds``, None if that is too little; and the seconds that it needs."""
    window = text.window * subject.scored
    solving = recipe.seconds_solving(subject)
    calibrated = window * (1 + (UPDATED * PASSES if solving else 0))
    calibrated += text.window * (subject.gradients or 0.0) if recipe.with_gradients(subject) else 0.0
    calibration = _within(_CALIBRATION, _CALIBRATING * seconds / calibrated, text.windows("calibration"))
    report = _within(_REPORT, _REPORTING * seconds / (_SCORED * window), text.windows("report"))
    before = _LOADED * subject.loading + recipe.seconds_before(subject) + UPDATED * solving
    before += calibration * calibrated + report * _SCORED * window
    least, most = recipe.evaluations(subject)
    for searched in (SEARCHED, SEARCHED // 2):
        evaluations = min(most, (seconds - before) / (searched * window))
        if evaluations >= least:
            used = before + evaluations * searched * window
            return Shares(calibration, report, searched, evaluations, used), used
    return None, before + least * SEARCHED // 2 * window


def _within(bounds: tuple[int, int], wanted: float, available: int) -> int:
    least, most = bounds
    return min(max(least, min(most, int(wanted))), available)
