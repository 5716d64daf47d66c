"""Measures the model, to share out the time among calibration, search and report."""

import math
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch

from evoprune import InputError
from problems.calibration.tensor_cache import cached
from problems.distillation.block_scales import COMPENSATED
from problems.distillation.trainable_parameters import room_to_train
from problems.evaluation.cost_estimate import Pace, mean_inputs, pace
from problems.gguf.sources import BLOCKS
from problems.models.blocks import in_features, max_positions
from problems.models.device import free_memory
from problems.models.load import stored_kinds
from problems.models.resident import Resident
from problems.planning.division import WINDOWS, Division
from problems.planning.recipe import Recipe, Subject
from problems.reconstruction import PASSES, UPDATED
from problems.texts.windows import Windows
from problems.transforms.gguf_types.matrices import typed_matrices
from problems.transforms.widths.cuts import Heads

SEARCHED = 8  # windows that candidates are scored on; as many more are held out, if the text is long enough

_CALIBRATING, _REPORTING = 0.3, 0.15  # shares of the time, at most
_CALIBRATION, _REPORT = (8, 128), (8, 48)  # windows, at least and at most
_SCORED = 6  # times that the report text is scored: dense, uniform and evolved, also updated
_LOADED = 2  # times that the model is loaded after planning: for the run, and for the export


def measure_subject(
    resident: Resident, windows: Windows, loading: float, differentiated: bool, one_file: bool, base: str | None = None,
    form: str = BLOCKS, least: float = 0.0,
) -> Subject:  # fmt: skip
    """Measure ``resident`` on ``windows``; its pace is cached, so that a command that is repeated goes on.

    ``differentiated``: whether with gradients.
    """
    matrices, found = resident.matrices, _pace(resident, windows, differentiated)
    widths: Counter[int] = Counter()
    for matrix in typed_matrices(resident) if one_file else ():
        widths[matrix.rows(matrix.weight).shape[1]] += matrix.size
    return Subject(
        blocks=1 + matrices[-1].block,
        kinds=len({matrix.kind for matrix in matrices}),
        width=_width(resident),
        heads=_has_heads(resident),
        inputs=mean_inputs(resident),
        prunable=resident.prunable_weights,
        scored=found.scored,
        gradients=found.gradients,
        loading=loading,
        positions=longest(resident),
        widths=widths,
        kinds_of_source=sorted(stored_kinds(resident.source)),
        one_file=one_file,
        form=form,
        least=least,
        trainable=find_spec("accelerate") is not None,
        roomy=room_to_train(resident.parameters, resident.device),
        threads=torch.get_num_threads(),
        base=base,
    )


def longest(resident: Resident) -> int:
    """Return the most tokens that the model reads at once, 2,048 if it has no limit."""
    return max_positions(resident.model) or 2048


def _pace(resident: Resident, windows: Windows, differentiated: bool) -> Pace:
    room = differentiated and (
        resident.device.type != "cpu" or 8 * resident.prunable_weights < free_memory(resident.device)
    )

    def measure() -> dict[str, torch.Tensor]:
        found = pace(resident, windows.tokens, room)
        return {"pace": torch.tensor([found.scored, found.gradients or 0.0])}

    what = [windows.sha256, room, torch.get_num_threads()]
    scored, gradients = cached(resident, "seconds for each token", what, measure)["pace"].tolist()
    return Pace(scored, gradients or None)


def _has_heads(resident: Resident) -> bool:
    with suppress(InputError):
        Heads(resident, Heads.Settings(), None)
        return True
    return False


def _width(resident: Resident) -> int | None:
    with suppress(InputError):
        return next(in_features(sublayer.layers[-1]) for sublayer in resident.sublayers if sublayer.kind == "mlp")
    return None


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


_COMFORT = 0.35  # share of the time that the least may take with longer windows, and with finer types of cut matrices
_SPARE = {"training": 0.75, "calibration": 0.1, "search": 0.05}  # of the time beyond the least; the rest is for reports
_SHORTEST = 20.0  # seconds of a training, at least
_COMPENSATING, _COMPENSATING_SHARE = 2.5, 0.4  # cost of a token of the Gram matrices, and share of a training, at most
_READ = 4  # windows of calibration, held-out and report text, at least
_REFITTED = 2048  # tokens of calibration text that output matrices are refitted to, at least
_GRAM = 4  # cost of a token of it, for heads and for channels: both read it
_ORDERED = 2  # cost of ordering the channels of all MLPs, in tokens that are scored, for each channel of one
_REPORTED, _EXPORTED, _MEASURED = 3, 4, 6  # times that the report text is scored in a run, its export, and a training
_VALIDATED = 12  # times that a training scores its held-out windows
_JUDGED = 6  # times that the held-out windows are
_FISHER, _SENSED = 4.0, (8, 256)  # cost of the sensitivity of a token; windows and their tokens that it reads, at most
_COMPARING, _TIMED, _PRESET = 0.2, 35.0, 2.5e-7  # a comparison's share of the spare time, and its parts' seconds
_FIXED, _WRITTEN = 10.0, 2e-7  # seconds for all that does not depend on the text, and for each weight of three files


def _share_out_file(
    recipe: Recipe, subject: Subject, text: Division, seconds: float
) -> tuple[Recipe, Division, Shares]:
    """As :func:`share_out` for types of a file: any time is enough for some result."""
    windows = [window for window in WINDOWS if window <= text.window] or [text.window]
    recipes = [recipe] + ([cheaper] if (cheaper := recipe.cheaper()) else [])
    for each in recipes:
        for window in windows:
            cut, comfort = replace(text, window=window), each.cuts(subject) or window > windows[-1]
            least = _least_of_file(each, subject, cut)
            if least.seconds <= (_COMFORT if comfort else 1.0) * seconds:
                return each, cut, _with_spare(least, seconds, subject, cut, each)
    return each, cut, _with_spare(least, max(seconds, least.seconds), subject, cut, each)


def _least_of_file(recipe: Recipe, subject: Subject, text: Division) -> Shares:
    window, (evaluations, _) = text.window * subject.scored, recipe.evaluations(subject)
    fixed, written = subject.slowness * _FIXED / 2, subject.slowness * _WRITTEN * sum(subject.widths.values())
    exporting = fixed + written + _EXPORTED * _READ * window
    calibration = min(_REFITTED // text.window if recipe.cuts(subject) else _READ, text.windows("calibration"))
    seconds = fixed + subject.slowness * recipe.setup_seconds(subject) + exporting
    seconds += window * (calibration + _READ * (_JUDGED + _REPORTED) + SEARCHED * (evaluations + 2 * _REPORTED))
    if recipe.types(subject):
        windows, length = _SENSED
        seconds += _FISHER * min(windows, calibration) * min(length, text.window) * subject.scored
    if recipe.cuts(subject):
        seconds += _GRAM * calibration * window + _ORDERED * (subject.width or 0) * subject.scored
    return Shares(
        calibration, _READ, SEARCHED, evaluations, seconds, exporting=exporting, held_out=_READ, compared=False
    )


def _with_spare(least: Shares, seconds: float, subject: Subject, text: Division, recipe: Recipe) -> Shares:
    """``least`` with more of all, so that it takes ``seconds``."""
    window = text.window * subject.scored
    comparing = subject.slowness * (_TIMED + _PRESET * sum(subject.widths.values()) / subject.threads)
    spare = max(0.0, seconds - least.seconds)
    compared = comparing <= _COMPARING * spare
    spare -= comparing if compared else 0.0
    cuts = recipe.cuts(subject)
    training = _SPARE["training"] * spare if subject.trainable else 0.0
    around = window * (_VALIDATED * least.held_out + _MEASURED * least.report)
    if training < max(_SHORTEST, 2 * around):
        training = 0.0
    compensated = not cuts and _COMPENSATING * COMPENSATED * subject.scored <= _COMPENSATING_SHARE * training
    more = {name: share * spare / window for name, share in _SPARE.items()}
    scored = _REPORTED + _EXPORTED + (_MEASURED if training else 0)
    report = _within(
        (_READ, _REPORT[1]), _READ + (1 - sum(_SPARE.values())) * spare / window / scored, text.windows("report")
    )
    most = text.windows("calibration")
    added = more["calibration"] / (_GRAM if cuts else 2)
    calibration = _within((least.calibration, _CALIBRATION[1]), least.calibration + added, most)
    evaluations = min(recipe.evaluations(subject)[1], least.evaluations + more["search"] / SEARCHED)
    exporting = least.exporting + _EXPORTED * (report - _READ) * window + (comparing if compared else 0.0)
    held_out = min(8, _READ + calibration // 8)
    searching = seconds - exporting - training - window * (_JUDGED * held_out + _REPORTED * (report + SEARCHED))
    return replace(
        least, calibration=calibration, report=report, evaluations=evaluations, seconds=seconds, training=training,
        exporting=exporting, searching=searching, held_out=held_out, compared=compared, compensated=compensated,
    )  # fmt: skip


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
    report = _within(_REPORT, _REPORTING * seconds / (_SCORED * window), text.windows("report"))
    before = _LOADED * subject.loading + recipe.setup_seconds(subject) + UPDATED * solving
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
