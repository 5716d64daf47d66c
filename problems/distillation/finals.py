"""Judges a finalist of a search by what a short recovery makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from evoprune import Evaluation, Phase, finite
from problems.distillation.checkpoint import NoCheckpoints
from problems.distillation.held_out import decisive, judged
from problems.distillation.recover import model_of, trained_of
from problems.distillation.settings import RecoverPhaseSettings, RunSettings, SelectSettings
from problems.distillation.text import RecoveryText, text_settings
from problems.distillation.train import Training
from problems.evaluation.session import Session
from problems.models.device import release_memory
from problems.models.forward import Forward
from problems.models.load import convert

_TRAINED = 4
"""What a trained token costs, as scored ones: 8 x parameters operations, the dense model's among them, to 2."""

_DIVERGENCE = 3
"""What measuring the divergence too costs, as passes of the perplexity: one more, and one of the dense model."""


def cost(settings: RunSettings) -> float:
    """What :func:`judge` takes, as tokens that are scored."""
    recover, select = _chosen(settings)
    window = text_settings(recover, settings.search_text).window
    step = recover.batch * window
    trained = math.ceil(select.tokens / step) * step
    measured = (2 if trained else 1) * recover.held_out * window
    return float(_TRAINED * trained + (1 if recover.cross_entropy else _DIVERGENCE) * measured)


def judge(session: Session, settings: RunSettings, text: RecoveryText, genome: Sequence[float]) -> Evaluation:
    """How good ``genome``'s final model is on the held-out windows of the recovery's text, as a recovery judges it.

    By perplexity, or by divergence where nothing is learned of the text itself. The windows are no windows of the
    search, and none that it is trained on before: so briefly as ``select`` says, or not at all. ``held_out_before``:
    the same before that, of :func:`trained_of`. The session's model is the dense one afterwards.
    """
    try:
        return _judged(session, settings, text, genome)
    finally:
        release_memory(session.resident.device)  # else the next one finds less memory


def _judged(session: Session, settings: RunSettings, text: RecoveryText, genome: Sequence[float]) -> Evaluation:
    recover, select = _chosen(settings)
    resident = session.resident
    trained = trained_of(session.transform, genome, recover) if select.tokens else list(genome)
    given = model_of(session, trained)
    model = given.model
    if select.tokens:
        convert(model, resident.device, torch.float32)
        quantised = trained != list(genome)  # after the training, and measured then
        short = recover.model_copy(update={"tokens": select.tokens, "time": None, "evaluations": 0 if quantised else 1})
        training = Training(given, resident.model, text, short, NoCheckpoints(), Phase(quiet=True))
        training.train_on()
        values = judged(training.course.curve)
        before, after = values[0], values[-1]
        if quantised:
            model = training.merged()
            session.transform.encode(model, genome)
            after = _measured(session, model, text, recover)
    else:
        convert(model, resident.device, resident.model.dtype)
        before = after = _measured(session, model, text, recover)
    return Evaluation((after,), cost(settings), {"held_out_before": finite(before)})


def _measured(session: Session, model: Any, text: RecoveryText, recover: RecoverPhaseSettings) -> float:
    return decisive(Forward(model), session.resident.forward, text.held_out, recover.cross_entropy)


def _chosen(settings: RunSettings) -> tuple[RecoverPhaseSettings, SelectSettings]:
    recover = settings.recover
    assert recover is not None
    assert recover.select is not None
    return recover, recover.select
