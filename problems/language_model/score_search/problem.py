"""The problem of finding a score of weights. Imports no torch until it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from evoprune import Evaluation, Finals, Fraction, Problem, Reporting, Result, Tree
from evoprune.plugins import EVOLVED, Outcome, digits, finite
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.models.settings import Source, model_fault, short_name
from evoprune.problems.language_model.scores.formula import ARGUMENTS, FormulaScore, Scope, parsed

KNOWN = {"magnitude": "w", "wanda": "w * x", "ria": "(w / r + w / c) * sqrt(x)", "gblm": "w * (x + g)"}
"""Formulas of published scores; RIA is that of Zhang et al., ICLR 2024, equation (4)."""

_FUNCTIONS = ("add", "sub", "mul", "div", "min", "max", "square", "sqrt", "log")
_DEEPEST = 6


class ScoreSearchSettings(EvaluationSettings):
    """Parameters of the problem ``score_search``."""

    also: tuple[Source, ...] = Field(
        (), description="other models, pruned by the same formulas; fitness is the geometric mean of all models"
    )
    sparsity: Fraction = Field(0.5, description="share of each matrix that is removed")
    within: Scope = Field("row", description="the weights that are ranked together: of a row, or of the matrix")

    @model_validator(mode="after")
    def _one_report(self) -> Self:
        if self.second_text:
            raise ValueError("second_text: formulas are reported on the report_text alone")
        return self

    @property
    def of_models(self) -> list[Self]:
        """The settings of each model."""
        return [self.model_copy(update={"model": model}) for model in (self.model, *self.also)]


class ScoreSearchResult(Result):
    """The result: losses by model and formula; None if infinite."""

    formula: str
    losses: dict[str, dict[str, float | None]]


class ScoreSearch(Problem, Finals, Reporting):
    """Find a formula of weights, inputs and gradients that scores weights: models pruned by it have the least loss.

    Known scores are bred, too. The result is the best on held-out windows of the search text.
    """

    Settings = ScoreSearchSettings
    Result = ScoreSearchResult
    settings: ScoreSearchSettings
    space = Tree(_FUNCTIONS, [*ARGUMENTS], deepest=_DEEPEST)
    work_unit = "tokens"
    packages = ("torch", "transformers")
    words: ClassVar[Mapping[str, str]] = {"losses": "loss on the report text"}

    def __init__(self, settings: ScoreSearchSettings) -> None:
        super().__init__(settings)
        from evoprune.problems.language_model.score_search.pruned import Pruned

        self.pruned = [Pruned(of_model) for of_model in settings.of_models]

    def evaluate(self, genome: Sequence[Any], fidelity: float = 1.0) -> Evaluation:  # noqa: ARG002 - it has one
        tokens = sum(pruned.session.texts.search.tokens.numel() for pruned in self.pruned)
        return Evaluation((geometric_mean(self._losses(genome, "search")),), tokens)

    def _losses(self, genome: Sequence[Any] | None, role: str) -> list[float]:
        """Return the loss of each model on its text ``role``, pruned by the formula ``genome``; None: dense."""
        score = FormulaScore(self.space.chosen(genome), self.settings.within) if genome else None
        return [
            pruned.value(score, self.settings.sparsity, getattr(pruned.session.texts, role)) for pruned in self.pruned
        ]

    def initial_genomes(self) -> list[list[Any]]:
        return [*self.references().values()]

    def references(self) -> dict[str, list[Any]]:
        return {name: [*parsed(text).genome] for name, text in KNOWN.items()}

    @property
    def contenders(self) -> dict[str, list[Any]]:
        return self.references() if self.settings.held_out_windows else {}

    def judge(self, genome: Sequence[Any]) -> float:
        return geometric_mean(self._losses(genome, "held_out"))

    def report(self, outcome: Outcome, folder: Path) -> dict[str, Any]:  # noqa: ARG002 - it draws none
        genomes = {name: genome for name, (genome, _) in outcome.references.items()} | {EVOLVED: outcome.best}
        rows = {name: self._losses(genome, "report") for name, genome in ({"dense": None} | genomes).items()}
        losses = {
            model: {name: finite(row[place]) for name, row in rows.items()}
            for place, model in enumerate((self.settings.model, *self.settings.also))
        }
        formula = str(self.space.chosen(outcome.best))
        measured = {"score": f"{formula} by {self.settings.within}", "sparsity": self.settings.sparsity}
        protocol = {"models": [pruned.session.protocol() | measured for pruned in self.pruned]}
        return {"formula": formula, "losses": losses, "protocol": protocol}

    def describe(self) -> str:
        settings = self.settings
        models = " and ".join(map(short_name, (settings.model, *settings.also)))
        return f"{self.space.describe()}; {models}, {settings.sparsity:.0%} of each {settings.within} removed"

    def fingerprint(self) -> dict[str, str]:
        hashes: dict[str, str] = {}
        for pruned in self.pruned:
            session = pruned.session
            own = {"weights": session.resident.weights_sha256} | session.texts.fingerprint()
            hashes |= {f"{session.resident.source}: {name}": value for name, value in own.items()}
        return hashes

    @classmethod
    def labels_of(cls, settings: ScoreSearchSettings) -> tuple[str, ...]:
        return (settings.objective_label,)

    @classmethod
    def missing(cls, settings: ScoreSearchSettings) -> list[str]:
        of_others = (fault for model in settings.also if (fault := model_fault(model)))
        return [*settings.missing_inputs, *(f"problem.also: {fault}" for fault in of_others)]

    @classmethod
    def about(cls, settings: ScoreSearchSettings) -> str:
        return f"a score for {short_name(settings.model)} at {settings.sparsity:.0%}"

    @classmethod
    def summary(cls, result: ScoreSearchResult) -> list[str]:
        lines = [f'score: {{formula: "{result.formula}"}}']
        for model, row in result.losses.items():
            values = (f"{name} {digits(value)}" for name, value in row.items())
            lines.append(f"{short_name(model)}, report text: {', '.join(values)}")
        return lines
