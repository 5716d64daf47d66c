"""Measures a model on a text, and turns its loss into fitness: settings. Imports no torch."""

from typing import Literal

from pydantic import Field

from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.texts.settings import TextsSettings


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
    def objective_label(self) -> str:
        return {"perplexity": "perplexity", "kl": "KL from dense, nats a token"}[self.objective] + " (search text)"
