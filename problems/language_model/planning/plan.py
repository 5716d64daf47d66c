"""Share out the time among calibration, search, report, training and export."""

import math
from dataclasses import dataclass, replace

from evoprune import InputError
from evoprune.problems.language_model.calibration import PASSES, UPDATED
from evoprune.problems.language_model.distillation.block_scales import COMPENSATED
from evoprune.problems.language_model.planning.division import Division
from evoprune.problems.language_model.planning.recipe import Recipe, Subject

SEARCHED = 8  # windows that candidates are scored on; as many more are held out, if the text is long enough

_CALIBRATING, _REPORTING = 0.3, 0.15  # shares of the time, at most
_CALIBRATION, _REPORT = (8, 128), (8, 48)  # windows, at least and at most
_SCORED = 6  # times that the report text is scored: dense, uniform and evolved, also updated
_LOADED = 2  # times that the model is loaded after planning: for the run, and for the export


@dataclass(frozen=True)
class Shares:
    """Windows of ``calibration``, ``held_out`` and ``report``, ``evaluations`` of ``searched`` windows each.

    All of it takes ``seconds``, of which the result is trained in ``training``, and exported in ``exporting``; the
    search ends after ``searching``. ``compared``: whether the speed is measured at the end, and a preset made;
    ``compensated``: whether codes are found anew before the training.
    """

    calibration: int
    report: int
    searched: int
    evaluations: float
    seconds: float
    training: float = 0.0
    exporting: float = 0.0
    searching: float = 0.0
    held_out: int = 8
    compared: bool = True
    compensated: bool = False

    @property
    def validations(self) -> int:
        """Times that a training measures its held-out windows after it began."""
        return 1 + sum(self.training > seconds for seconds in _LONGER)


def share_out(
    recipe: Recipe, subject: Subject, text: Division, seconds: float, extended: bool = False
) -> tuple[Recipe, Division, Shares]:
    """Return ``recipe``, or a cheaper one that fits into ``seconds``, with windows and shares.

    If nothing fits, the cheapest one in the time that it needs if ``extended``, else InputError.
    """
    if subject.one_file:
        return _share_out_file(recipe, subject, text, seconds)
    while True:
        found, _ = _fitted(recipe, subject, text, seconds)
        if found:
            return recipe, text, found
        if (cheaper := recipe.cheaper()) is None:
            least = _least_minutes(recipe, subject, text)
            if extended:
                return share_out(recipe, subject, text, 60.0 * least)
            raise InputError(f"is too short for this model on this machine; expected at least {least}m", "--time")
        recipe = cheaper


_ROOM = 0.5  # share of the time that the least may take with finer types, as training gains more than these
_COMFORT = 0.35  # share of the time that the least may take with longer windows, and with finer types of cut matrices
_SPARE = {"calibration": 0.05, "search": 0.02, "report": 0.08}  # of the time beyond the least; the rest is for training
_ACCURATE = {"report": 0.2}  # the same of a task file: an accuracy needs more lines than a loss
_SHORTEST, _LONGER = 6.0, (30.0, 60.0)  # seconds of a training, at least; and where it is measured once more
_TRAINED = 5.0  # seconds to copy a model that is trained, and to draw and write the result
_GENERATION = 4.0  # evaluations of one that gains something, at least
_COMPENSATING, _COMPENSATING_SHARE = 2.5, 0.1  # cost of a token of the Gram matrices, and share of a training, at most
_READ = 4  # windows of calibration, held-out and report text, at least
_REFITTED = 2048  # tokens of calibration text that output matrices are refitted to, at least
_GRAM = 4  # cost of a token of it, for heads and for channels: both read it
_ORDERED = 8  # operations for each cubed channel of an MLP: its channels are ordered, and refitted for some levels
_REPORTED, _EXPORTED, _MEASURED = 3, 3, 1  # times that the report text is scored in a run, its export, and a training
_JUDGED = 3  # times that the held-out windows are: of the dense, the uniform and the best model
_KNOWN = 1.5  # times that the search text is, beside the evaluations
_FISHER, _SENSED = 3.5, (8, 256)  # cost of the sensitivity of a token; windows and their tokens that it reads, at most
_COMPARING, _TIMED, _PRESET = 0.2, 30.0, 1.5e-7  # a comparison's share of the spare time, and its parts' seconds
_FIXED = 6.0  # seconds for all that does not depend on the text
_WRITTEN, _CUT = 3e-8, 2e-7  # seconds for each weight of files and copies, and where matrices are cut


def _share_out_file(
    recipe: Recipe, subject: Subject, text: Division, seconds: float
) -> tuple[Recipe, Division, Shares]:
    """As :func:`share_out` for types of a file: any time is enough for some result."""
    sizes = [*((window, SEARCHED) for window in text.sizes), (text.sizes[-1], SEARCHED // 2)]
    recipes = [recipe] + ([cheaper] if (cheaper := recipe.cheaper()) else [])
    for each in recipes:
        for size in sizes:
            cut, comfort = replace(text, window=size[0]), each.cuts(subject) or size != sizes[-1]
            most = _COMFORT if comfort else 1.0 if each is recipes[-1] or not subject.trainable else _ROOM
            least = _least_of_file(each, subject, cut, size[1])
            if least.seconds <= most * seconds:
                return each, cut, _with_spare(least, seconds, subject, cut, each)
    return each, cut, _with_spare(least, max(seconds, least.seconds), subject, cut, each)


def _least_of_file(recipe: Recipe, subject: Subject, text: Division, searched: int) -> Shares:
    window, (evaluations, _) = text.window * subject.scored, recipe.evaluations(subject)
    fixed, weights = subject.slowness * _FIXED / 2, sum(subject.widths.values())
    written = subject.slowness * (_CUT if recipe.cuts(subject) else _WRITTEN) * weights
    exporting = fixed + written + _EXPORTED * _READ * window
    calibration = min(_REFITTED // text.window if recipe.cuts(subject) else _READ, text.windows("calibration"))
    seconds = fixed + subject.slowness * recipe.setup_seconds(subject) + exporting
    seconds += window * (calibration + _READ * (_JUDGED + text.scored(_REPORTED)) + searched * (evaluations + _KNOWN))
    if recipe.types(subject):
        windows, length = _SENSED
        seconds += _FISHER * min(windows, calibration) * min(length, text.window) * subject.scored
    if recipe.cuts(subject):
        ordering = _ORDERED * subject.blocks * (subject.width or 0) ** 3 / (2 * subject.prunable)  # in tokens
        seconds += _GRAM * calibration * window + ordering * subject.scored
    return Shares(
        calibration, _READ, searched, evaluations, seconds, exporting=exporting, held_out=_READ, compared=False
    )


def _with_spare(least: Shares, seconds: float, subject: Subject, text: Division, recipe: Recipe) -> Shares:
    """``least`` with more of all, so that it takes ``seconds``."""
    window = text.window * subject.scored
    comparing = subject.slowness * (_TIMED + _PRESET * sum(subject.widths.values()) / subject.threads)
    spare = max(0.0, seconds - least.seconds)
    compared = comparing <= _COMPARING * spare
    spare -= comparing if compared else 0.0
    cuts = recipe.cuts(subject)
    more = {name: share * spare / window for name, share in (_SPARE | (_ACCURATE if text.answers else {})).items()}
    calibration, cost = _calibrated(least.calibration, more["calibration"], cuts, text.windows("calibration"))
    evaluations = least.evaluations
    if cuts or more["search"] >= _GENERATION * least.searched:
        evaluations = min(recipe.evaluations(subject)[1], evaluations + more["search"] / least.searched)
    scored = text.scored(_REPORTED) + _EXPORTED + (_MEASURED if subject.trainable else 0)
    report = _within((_READ, _REPORT[1]), _READ + more["report"] / scored, text.windows("report"))
    held_out = min(8, _READ + calibration // 8)
    cost += least.searched * (evaluations - least.evaluations)
    cost += scored * (report - _READ) + _JUDGED * (held_out - _READ)
    spare -= window * cost + subject.slowness * _TRAINED
    found = replace(least, training=spare if subject.trainable else 0.0)
    if found.training < _SHORTEST + window * ((2 + found.validations) * held_out + _MEASURED * report):
        found = replace(least, training=0.0)
    training = found.training
    compensated = not cuts and _COMPENSATING * COMPENSATED * subject.scored <= _COMPENSATING_SHARE * training
    exporting = least.exporting + _EXPORTED * (report - _READ) * window + (comparing if compared else 0.0)
    searching = seconds - exporting - training - window * (_JUDGED * held_out + text.scored(_REPORTED) * report)
    return replace(
        least, calibration=calibration, report=report, evaluations=evaluations, seconds=seconds, training=training,
        exporting=exporting, searching=searching, held_out=held_out, compared=compared, compensated=compensated,
    )  # fmt: skip


def _calibrated(least: int, windows: float, cuts: bool, available: int) -> tuple[int, float]:
    """Windows of calibration text for the cost of so many ``windows`` beyond the ``least``, and their cost."""
    each, first = (_GRAM, 0.0) if cuts else (2.0, 1 + _FISHER)
    sensed = 0 if cuts else max(0, _SENSED[0] - least)  # the sensitivity reads no more
    added = min(sensed, windows / (first or each)) + max(0.0, windows - first * sensed) / each
    found = _within((least, _CALIBRATION[1]), least + added, available)
    few = min(sensed, found - least)
    return found, first * few + each * (found - least - few)


def _least_minutes(recipe: Recipe, subject: Subject, text: Division) -> int:
    """The fewest that ``recipe`` fits into. Its needs grow with the time, of which some parts take a share."""
    minutes = 1
    while True:
        found, needed = _fitted(recipe, subject, text, 60 * minutes)
        if found:
            return minutes
        minutes = max(minutes + 1, math.ceil(needed / 60))


def _fitted(recipe: Recipe, subject: Subject, text: Division, seconds: float) -> tuple[Shares | None, float]:
    """The shares of ``seconds``, None if they are too few; and the seconds that are needed."""
    window = text.window * subject.scored
    solving = recipe.update_seconds(subject)
    calibrated = window * (1 + (UPDATED * PASSES if solving else 0))
    calibrated += text.window * (subject.gradients or 0.0) if recipe.needs_gradients(subject) else 0.0
    calibration = _within(_CALIBRATION, _CALIBRATING * seconds / calibrated, text.windows("calibration"))
    report = _within(_REPORT, _REPORTING * seconds / (text.scored(_SCORED) * window), text.windows("report"))
    before = _LOADED * subject.loading + recipe.setup_seconds(subject) + UPDATED * solving
    before += calibration * calibrated + report * text.scored(_SCORED) * window
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
