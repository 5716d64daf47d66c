"""The windows that a recovery trains on, and those that choose its best weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy
import torch

from evoprune import InputError
from evoprune.console.phase import note
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.texts.anew import packed
from evoprune.problems.language_model.texts.text_splits import PASSAGE, Texts, in_common
from evoprune.problems.language_model.texts.windows import Windows, check_length, unused_windows

_ROLE = "recover.text"


@dataclass(frozen=True)
class RecoveryText:
    """Windows ``(windows, window)`` of one text, int64 on the CPU; ``train`` and ``held_out`` have none in common."""

    train: torch.Tensor
    held_out: torch.Tensor
    whole: Windows  # all of them

    @classmethod
    def of(cls, whole: Windows, held_out: int) -> Self:
        """The windows of ``whole``; those ``held_out`` are spread evenly over it."""
        windows = len(whole.tokens)
        chosen = numpy.arange(held_out) * windows // held_out
        rest = numpy.setdiff1d(numpy.arange(windows), chosen)
        return cls(whole.tokens[rest], whole.tokens[chosen], whole)

    def read(self, texts: Texts) -> Self:
        """The same text as the model reads it now, in windows of as many tokens; see :meth:`Texts.read`."""
        read = texts.read(self.whole)
        return self if read is self.whole else self.of(packed(read, self.whole.tokens.shape[1]), len(self.held_out))

    def protocol(self) -> dict[str, Any]:
        """Describe the text."""
        return self.whole.protocol() | {"held_out": len(self.held_out)}


def recovery_text(settings: RecoverSettings, session: Session) -> RecoveryText:
    """The windows of the text that ``settings`` name; of the search's own text those that the search does not see.

    Windows that hold passages of the report text are left out, so that neither training nor the choice of weights sees
    any.
    """
    searched, report = session.texts.search, session.texts.report
    model, tokenizer = session.resident.model, session.texts.tokenizer  # which the resident model's may not be now
    text = settings.text_settings(searched.settings)
    if text.identity == report.settings.identity:
        raise InputError("is the report text, which must not be trained on; give another", text.source)
    check_length(text, model, _ROLE)
    seen = [searched] if text.identity == searched.settings.identity else []
    free = unused_windows(text, seen, tokenizer, _ROLE)
    shared = in_common(free, report, min(PASSAGE, report.text.shape[1]))
    whole = free.chosen([number for number, tokens in enumerate(shared) if not tokens.any()])
    windows, held_out, left_out = len(whole.tokens), settings.held_out, len(free.tokens) - len(whole.tokens)
    if left_out:
        note(f"{text.source}: {left_out} windows hold passages of the report text and are not trained on")
    if windows < held_out + settings.step_windows:
        raise InputError(
            f"leaves {windows} windows of {text.window} tokens; expected {held_out} that are held out and at least "
            f"{settings.step_windows} to train on: give a longer text, or a smaller window, held_out or batch",
            text.source,
        )
    return RecoveryText.of(whole, held_out)
