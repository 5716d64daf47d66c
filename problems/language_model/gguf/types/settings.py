"""The settings of the transform ``types``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import Field, model_validator

from evoprune import Settings
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.settings import Source


class TypesSettings(Settings):
    """The types that a matrix may have, and how it is quantised."""

    types: tuple[str, ...] | None = Field(
        None,
        description="GGUF types to choose from, as far as widths allow; null: 18 usual ones, Q8_0 to IQ2_XXS, and "
        "Q2_0 if some rows are no multiple of 256; []: with from_source, none",
    )
    base: Source | None = Field(
        None,
        description="a .gguf file of the same model, in any types, that gives tokenizer and metadata; null: the model "
        "itself if it is one",
    )
    importance: bool = Field(
        True, description="weigh each input's error by its mean square on the calibration text (an importance matrix)"
    )
    imatrix: Source | None = Field(
        None, description="llama.cpp's importance matrix of the same model, a .gguf file, in place of the text's"
    )
    recipe: Source | None = Field(
        None,
        description="a file with the type of each tensor, as llama-quantize --tensor-type-file reads it, in place of "
        "types; nothing is left to choose",
    )
    source_types: bool = Field(
        True,
        description="if the source is quantised: allow the types that reproduce its matrices exactly; false leaves "
        "them out, so that no type looks better than it is",
    )
    from_source: bool = Field(
        False,
        description="of a model that is a .gguf file: each matrix is in its type of the file, or in a smaller one, not "
        "in 16 bits; sizes and times are compared with this file",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TypesSettings:
        if self.types and len(set(self.types)) < len(self.types):
            raise ValueError("types: expected each type once")
        if self.types == () and not self.from_source:
            raise ValueError("types: expected at least 1, or from_source")
        if self.recipe and self.types is not None:
            raise ValueError("types: leave them out, as recipe names them")
        if self.recipe and not self.source_types:
            raise ValueError("source_types: false leaves out types, and recipe names the only one: give one of them")
        if self.imatrix and not self.importance:
            raise ValueError("imatrix: is for importance: true")
        return self

    def chosen(self, widths: Collection[int]) -> Sequence[str]:
        """Return the types to choose from for rows of ``widths``; some may not fit."""
        return ggml.usual(widths) if self.types is None else self.types
