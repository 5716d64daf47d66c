"""Judges a finalist of a search by what a short recovery makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from evoprune import Evaluation, Phase, finite
from problems.language_model.evaluation.measure import Measure
from problems.language_model.model.forward import Forward
from problems.language_model.model.load import convert
from problems.language_model.recovery.checkpoint import NoCheckpoints
from problems.language_model.recovery.recover import model_of, trained_of
from problems.language_model.recovery.text import text_settings
from problems.language_model.recovery.train import Training
from problems.language_model.session import Session
from problems.language_model.settings import LanguageModelSettings, RecoverPhaseSettings, SelectSettings

_TRAINED = 4
"""What a trained token costs, as scored ones: 8 x parameters operations, the dense model's among them, to 2."""


def cost(settings: LanguageModelSettings) -> float:
    """What :func:`judge` takes, as tokens that are scored."""
    recover, select = _chosen(settings)
    window = text_settings(recover, settings.search_text).window
    step = recover.batch * window
    trained = math.ceil(select.tokens / step) * step
    return float(_TRAINED * trained + (2 if trained else 1) * recover.held_out * window)


def judge(session: Session, genome: Sequence[float]) -> Evaluation:
    """The perplexity of ``genome``'s final model on the held-out windows of the recovery's text.

    These are no windows of the search, and none that it is trained on before: so briefly as ``select`` says, or not at
    all. ``held_out_before``: the perplexity before that, of :func:`trained_of`. The session's model is the dense one
    afterwards.
    """
    recover, select = _chosen(session.settings)
    text, resident = session.recovery_text, session.resident
    if select.tokens:
        trained = trained_of(session.transform, genome, recover)
        given = model_of(session, trained)
        model = given.model
        convert(model, resident.device, torch.float32)
        short = recover.model_copy(update={"tokens": select.tokens, "time": None, "evaluations": 1})
        training = Training(model, resident.model, text, short, NoCheckpoints(), Phase(quiet=True), given.fixed)
        training.train_on()
        before, after = (point["held_out"] for point in training.course.curve)
        if trained != list(genome):
            session.transform.encode(model, genome)
            after = finite(Measure(Forward(model), None).perplexity(text.held_out))
    else:
        before = after = finite(session.final_perplexity(genome, text.held_out))
    value = math.inf if after is None else after
    return Evaluation((value,), cost(session.settings), {"held_out_before": before})


def _chosen(settings: LanguageModelSettings) -> tuple[RecoverPhaseSettings, SelectSettings]:
    recover = settings.recover
    assert recover is not None
    assert recover.select is not None
    return recover, recover.select
