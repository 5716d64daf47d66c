"""Measures a model on a text, and turns its loss into fitness: settings. Imports no torch."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from evoprune.problems.language_model.models.settings import ModelSettings, model_fault
from evoprune.problems.language_model.texts.settings import TextsSettings, text_fault
from evoprune.problems.language_model.texts.tasks import task_fault


class EvaluationSettings(TextsSettings, ModelSettings):
    """The model, the texts, and the objective on them."""

    objective: Literal["perplexity", "kl"] = Field(
        "perplexity", description="fitness: perplexity, or divergence from the dense model"
    )
    kl_top: int = Field(64, ge=1, description="number of the dense model's probabilities that kl keeps for each token")
    batch_tokens: int | None = Field(
        None, ge=1, description="tokens in one forward pass, at least one window; null: as the memory allows"
    )
    reuse_mib: int = Field(
        512,
        ge=0,
        description="MiB for hidden states that related candidates reuse, at most a tenth of what is free; 0 is none",
    )

    @property
    def missing_inputs(self) -> Iterator[str]:
        """A line for each missing model or text, with its key."""
        if fault := model_fault(self.model):
            yield f"problem.model: {fault}"
        roles = {"search_text": self.search_text, "report_text": self.report_text}
        roles |= {f"second_text.{at}": text for at, text in enumerate(self.second_text)}
        roles |= {"calibration_text": self.calibration_text} if self.calibration_text else {}
        for role, text in roles.items():
            if fault := text_fault(text) or task_fault(text):
                yield f"problem.{role}: {fault}"

    @property
    def objective_label(self) -> str:
        return {"perplexity": "perplexity", "kl": "KL from dense, nats a token"}[self.objective] + " (search text)"
