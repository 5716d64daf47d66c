"""The parameters of the problem ``compression``. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evoprune import Choice
from problems.language_model.any_transform import AnyTransformSettings


class CompressionSettings(AnyTransformSettings):
    """Parameters of the problem ``compression``: those of ``language_model``, with a limit."""

    budget: Choice = Field(description="the limit, by a registered name, and its parameters, such as bytes")
    objective: Literal["perplexity", "kl"] = Field(
        "kl", description="fitness: divergence from the dense model, or perplexity"
    )
