"""Options of the export of a .gguf file. Imports no torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from evoprune.problems.language_model.export import ExportOptions
from evoprune.problems.language_model.models.settings import Source

AgainstPreset = Literal["same-bytes", "none"]
AGAINST_PRESET = (
    "for OUT.gguf: same-bytes compares with a file of llama-quantize of as many bytes and the same importance; none "
    "saves its time"
)

KvType = Literal["f16", "q8_0"]


class GgufOptions(ExportOptions):
    """Options of the export of a .gguf file."""

    base: Source | None = Field(
        None,
        description="for OUT.gguf: a .gguf file of the dense model, whose tokenizer and metadata are copied (default: "
        "that of the run's transform, or the run's model, if it is one)",
    )
    against_preset: AgainstPreset = Field("same-bytes", description=AGAINST_PRESET)
    context: int | None = Field(
        None, ge=1, description="for OUT.gguf: report the memory of llama.cpp with a context of so many tokens"
    )
    kv: KvType = Field("f16", description="for --context: the type of the cache of keys and values")
    fits: int | None = Field(None, ge=1, description="for --context: bytes of memory that it should not exceed")

    @model_validator(mode="after")
    def _of_a_context(self) -> Self:
        for key in ("kv", "fits"):
            if key in self.model_fields_set and self.context is None:
                raise ValueError(f"{key}: is for context: give one, or leave it out")
        return self
