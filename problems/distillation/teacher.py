"""The teacher of a recovery: the dense model, and the texts as the model in training reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from evoprune import finite
from problems.distillation.loss import divergence
from problems.distillation.targets import DenseModel, RetokenisingModel
from problems.distillation.text import RecoveryText
from problems.evaluation.session import Session
from problems.models.forward import Forward
from problems.texts.windows import Windows


@dataclass(frozen=True)
class Teacher:
    """The dense model, and the texts: the windows to train on, and those that score the result.

    Losses on the latter times ``factor`` are those of a token of the source's tokenizer; see :meth:`Texts.read`.
    """

    dense: DenseModel
    text: RecoveryText
    report: Windows
    factor: float = 1.0

    @classmethod
    def of(cls, session: Session, genome: Sequence[float], text: RecoveryText) -> Self:
        """The teacher of the model of ``genome``. The session's model is the dense one afterwards."""
        session.transform.apply(session.transform.teacher(genome))
        report, factor = session.texts.read(session.texts.report)
        return cls(*taught(session, genome, text), report, factor)

    @property
    def model(self) -> Any:
        return self.dense.model

    def score(self, model: Any) -> dict[str, float | None]:
        """Perplexity of ``model`` on the report text, and its divergence from this one."""
        found, perplexity = divergence(Forward(model), self.dense, self.report.tokens)
        return {"perplexity": finite(perplexity**self.factor), "divergence": finite(self.factor * found)}


def taught(session: Session, genome: Sequence[float], text: RecoveryText) -> tuple[DenseModel, RecoveryText]:
    """The dense model, which is the session's afterwards, and ``text`` as the model of ``genome`` reads it."""
    transform, resident = session.transform, session.resident
    transform.apply(transform.teacher(genome))
    read, tokenizer, kept = text.read(session.texts), resident.tokenizer, transform.tokens_left(genome)
    transform.apply(transform.dense)
    if kept is None:
        return DenseModel(resident.model), read
    return RetokenisingModel(resident.model, resident.tokenizer, tokenizer, kept), read
