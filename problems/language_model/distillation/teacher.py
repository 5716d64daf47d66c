"""The teacher of a recovery: the dense model, and the texts as the model in training reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from evoprune.files.json_files import finite
from evoprune.problems.language_model.distillation.loss import divergence, measured
from evoprune.problems.language_model.distillation.targets import DenseModel, RetokenisingModel
from evoprune.problems.language_model.distillation.text import RecoveryText
from evoprune.problems.language_model.evaluation.accuracy import accuracy
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.texts.windows import Windows


@dataclass(frozen=True)
class Teacher:
    """The dense model, and the texts: the windows to train on, and those that score the result.

    ``tokenizer``: of the dense model. ``objective``: the divergence that the report of a run has; None for that of all
    tokens.
    """

    dense: DenseModel
    text: RecoveryText
    report: Windows
    tokenizer: Any
    objective: Divergence | None = None

    @classmethod
    def of(cls, session: Session, genome: Sequence[float], text: RecoveryText) -> Self:
        """The teacher of the model of ``genome``. The session's model is the dense one afterwards."""
        objective = None
        if session.transform.remaining_tokens(genome) is None:
            objective = session.fitness.divergence_on(session.texts.report, genome)
        session.transform.apply(session.transform.teacher(genome))
        report = session.texts.read(session.texts.report)
        return cls(*taught(session, genome, text), report, session.texts.tokenizer, objective)

    @property
    def model(self) -> Any:
        return self.dense.model

    def score(self, model: Any) -> dict[str, float | None]:
        """Perplexity of ``model`` on the report text, its divergence from this one, and its accuracy on a task file."""
        tokens = self.report.tokens
        if self.objective is None:
            found, perplexity = divergence(Forward(model), self.dense, tokens)
        else:
            found, perplexity = measured(Forward(model), tokens, self.objective)
        scores = {
            "perplexity": finite(perplexity**self.report.factor),
            "divergence": finite(self.report.factor * found),
        }
        if self.report.lines:
            scores["accuracy"] = accuracy(self.report, self.tokenizer, Measure(Forward(model), None))
        return scores

    def known(self, session: Session, final: FinalModel) -> dict[str, float | None] | None:
        """The scores of ``final``, if a report of ``session`` measured them; None if not."""
        found = session.fitness.known(final.genome, session.texts.report)
        if not found or not self.objective or self.report.lines or final.recovered or session.transform.updates:
            return None
        return {"perplexity": finite(found[1]), "divergence": finite(found[0])}


def taught(session: Session, genome: Sequence[float], text: RecoveryText) -> tuple[DenseModel, RecoveryText]:
    """The dense model, which is the session's afterwards, and ``text`` as the model of ``genome`` reads it."""
    transform, resident = session.transform, session.resident
    transform.apply(transform.teacher(genome))
    read, tokenizer, kept = text.read(session.texts), resident.tokenizer, transform.remaining_tokens(genome)
    transform.apply(transform.dense)
    if kept is None:
        return DenseModel(resident.model), read
    return RetokenisingModel(resident.model, resident.tokenizer, tokenizer, kept), read
