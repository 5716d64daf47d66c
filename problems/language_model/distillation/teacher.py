"""The teacher of a recovery: the dense model, the texts as the student reads them, and compensated codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy
import torch

from evoprune import InputError
from evoprune.plugins import finite, note
from evoprune.problems.language_model.calibration.statistics import GRAM, statistics
from evoprune.problems.language_model.distillation.loss import (
    DenseModel,
    ExactDivergence,
    RetokenisingModel,
    divergence,
)
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.evaluation.answers import accuracy
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.blocks import find_matrices, in_features
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.recovery import COMPENSATION_TOKENS
from evoprune.problems.language_model.texts.text_splits import PASSAGE, Texts, in_common, packed
from evoprune.problems.language_model.texts.windows import Windows, check_length, unused_windows
from evoprune.problems.language_model.transforms.form import Encoded

_ROLE = "recover.text"

_GRAM = 40  # bytes of an entry of a Gram matrix and its factors, in float32 and float64


@dataclass(frozen=True)
class RecoveryText:
    """Windows ``(windows, window)`` of a text, int64 on the CPU.

    ``train``: to train on; ``held_out``: to choose the best weights; ``whole``: both.
    """

    train: torch.Tensor
    held_out: torch.Tensor
    whole: Windows

    @classmethod
    def of(cls, whole: Windows, held_out: int) -> Self:
        """Split ``whole`` into ``held_out`` windows, spread evenly over the text, and the rest."""
        windows = len(whole.tokens)
        chosen = numpy.arange(held_out) * windows // held_out
        rest = numpy.setdiff1d(numpy.arange(windows), chosen)
        return cls(whole.tokens[rest], whole.tokens[chosen], whole)

    def read(self, texts: Texts) -> Self:
        """Return the text in tokens of the resident model, windows of the same size; see :meth:`Texts.retokenised`."""
        read = texts.retokenised(self.whole)
        return self if read is self.whole else self.of(packed(read, self.whole.tokens.shape[1]), len(self.held_out))

    def protocol(self) -> dict[str, Any]:
        return self.whole.protocol() | {"held_out": len(self.held_out)}


def recovery_text(settings: RecoverSettings, session: Session) -> RecoveryText:
    """Return the windows of the text in ``settings``, without windows of the search and passages of the report text."""
    searched, report = session.texts.search, session.texts.report
    model, tokenizer = session.resident.model, session.texts.tokenizer  # the resident one may be cut
    text = settings.text_settings(searched.settings)
    if text.identity == report.settings.identity:
        raise InputError("is the report text, which must not be trained on; give another", text.source)
    check_length(text, model, _ROLE)
    seen = [searched] if text.identity == searched.settings.identity else []
    free = unused_windows(text, seen, tokenizer, _ROLE)
    shared = in_common(free, report, min(PASSAGE, report.text.shape[1]))
    whole = free.select([number for number, tokens in enumerate(shared) if not tokens.any()])
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


@dataclass(frozen=True)
class Teacher:
    """The dense model, the ``text`` to train on, and the ``report`` text, which scores the result.

    ``tokenizer``: of the dense model. ``objective``: the divergence of a run's report; None for the exact one.
    """

    dense: DenseModel
    text: RecoveryText
    report: Windows
    tokenizer: Any
    objective: Divergence | None = None

    @classmethod
    def of(cls, session: Session, genome: Sequence[float], text: RecoveryText) -> Self:
        """Return the teacher of the model of ``genome``; the dense model is resident afterwards."""
        transform, resident, texts = session.transform, session.resident, session.texts
        remaining = transform.remaining_tokens(genome)
        objective = session.fitness.divergence_on(texts.report, genome) if remaining is None else None
        transform.apply(transform.teacher(genome))
        text, report, tokenizer = text.read(texts), texts.retokenised(texts.report), resident.tokenizer
        transform.apply(transform.dense)
        if remaining is None:
            dense = DenseModel(resident.model)
        else:
            dense = RetokenisingModel(resident.model, resident.tokenizer, tokenizer, remaining)
        return cls(dense, text, report, texts.tokenizer, objective)

    @property
    def model(self) -> Any:
        return self.dense.model

    def score(self, model: Any) -> dict[str, float | None]:
        """Return perplexity and divergence of ``model`` on the report text, and its accuracy on a task file."""
        tokens, student = self.report.tokens, Forward(model)
        lost, perplexity = divergence(student, tokens, self.objective or ExactDivergence(self.dense, tokens))
        scale = self.report.loss_scale
        scores = {"perplexity": finite(perplexity**scale), "divergence": finite(scale * lost)}
        if self.report.lines:
            scores["accuracy"] = accuracy(self.report, self.tokenizer, Measure(student, None))
        return scores

    def reported_scores(self, session: Session, final: FinalModel) -> dict[str, float | None] | None:
        """Return the :meth:`score` of ``final`` if the report of ``session`` measured it."""
        score = session.fitness.cached_score(final.genome, session.texts.report)
        other = session.settings.objective == "perplexity" or self.report.lines or session.transform.facts.updates
        if not score or not self.objective or other or final.recovered:
            return None
        return {"perplexity": finite(score.perplexity), "divergence": finite(score.value)}


def compensate(
    dense: Any, encoded: Mapping[str, Encoded], tokens: torch.Tensor, loss: Callable[[Any], float], model: Any,
    before: float,
) -> Mapping[str, Encoded]:  # fmt: skip
    """Round the matrices of ``model`` to their types again with compensated errors (GPTQ).

    The Gram matrices are of the ``dense`` model on some ``tokens``. Matrices that rounding did not change keep their
    codes; all do if the ``loss`` is not below ``before``, as with too few tokens for long rows.
    """
    sample = tokens[: max(1, COMPENSATION_TOKENS // tokens.shape[1])]
    students, recoded = {matrix.parameter: matrix for matrix in find_matrices(model)}, dict(encoded)
    wanted = [matrix for matrix in find_matrices(dense) if matrix.parameter in encoded]
    changed = {m.parameter for m in wanted if not torch.equal(m.weight, students[m.parameter].weight.to(m.weight))}
    if not changed:
        return encoded
    if not Placement.of(
        "codes", dense.device, _GRAM * max(in_features(m.module) for m in wanted) ** 2, share=1
    ).resident:
        note("matrices keep their codes: Gram matrices, which tell others, have no room in memory")
        return encoded
    for matrix, gathered in statistics(dense, sample, wanted, {GRAM}, "compensating"):
        if matrix.parameter not in changed:
            continue
        name, rows = matrix.parameter, matrix.rows(matrix.weight.detach())
        recoded[name] = encoded[name].compensated(rows, gathered[GRAM])
        recoded[name].put_into(students[name])
    if loss(model) < before:
        return recoded
    note("matrices keep their codes: those that make up for their errors are worse on the held-out windows")
    for name in changed:
        encoded[name].put_into(students[name])
    return encoded
