"""Options of the command ``prune`` for .gguf files. Imports no torch."""

from pathlib import Path

from pydantic import Field, field_validator

from evoprune.problems.language_model.gguf.export.options import KvType
from evoprune.problems.language_model.models.settings import Source
from evoprune.problems.language_model.prune.options import PruneOptions


class GgufPruneOptions(PruneOptions):
    """Options for the output of a .gguf file."""

    base: Source | None = Field(
        None, description="for --out OUT.gguf: a .gguf file of the same model, whose tokenizer and metadata are copied"
    )
    imatrix: Source | None = Field(
        None, description="for --out OUT.gguf: llama.cpp's importance matrix of the same model, in place of the text's"
    )
    context: int | None = Field(None, ge=1, description="for --fits: tokens (default: 4096, at most the model's)")
    kv: KvType | None = Field(None, description="for --fits: the type of keys and values (default: f16)")

    @field_validator("base")
    @classmethod
    def _there(cls, value: str | None) -> str | None:
        if value and not Path(value).is_file():
            raise ValueError(f"no such file: {value}")
        return value
