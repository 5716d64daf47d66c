"""The parameters of the transform ``types``. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from evoprune import Settings
from problems.models.settings import Source

COMMON = (
    "Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q5_K", "Q4_1", "Q4_0", "Q4_K", "IQ4_NL", "IQ4_XS", "MXFP4",
    "Q3_K", "IQ3_S", "IQ3_XXS", "Q2_K",
)  # fmt: skip
"""What is tried if nothing is said; ggml takes long for the others, which are for large models."""


class TypesSettings(Settings):
    """Which types a matrix may have, and how it is quantised."""

    types: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="GGUF types to choose from, as far as widths allow; null: 15 usual ones, Q8_0 to Q2_K",
    )
    base: Source | None = Field(
        None,
        description="a .gguf file of the same model, in any types, that gives tokenizer and metadata; null: the model "
        "itself if it is one",
    )
    importance: bool = Field(
        True, description="weigh each input's error by its mean square on the calibration text (an importance matrix)"
    )
    source_types: bool = Field(
        True,
        description="if the source is quantised: allow the types that reproduce its matrices exactly; false leaves "
        "them out, so that no type looks better than it is",
    )

    @model_validator(mode="after")
    def _each_once(self) -> TypesSettings:
        if self.types and len(set(self.types)) < len(self.types):
            raise ValueError("types: expected each type once")
        return self
