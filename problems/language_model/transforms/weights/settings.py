"""The settings of the transform ``weights``. Imports no torch."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evoprune import Fraction, InputError, Settings
from evoprune.plugins import check_parameters, check_plugin
from evoprune.problems.language_model.scores import SCORES
from evoprune.problems.language_model.scores.formula import FormulaSettings


class WeightsSettings(Settings):
    """The choice of the weights that are removed, and the update of the remaining ones."""

    min_sparsity: Fraction = Field(0.0, description="lower bound of a gene")
    max_sparsity: Fraction = Field(0.9, description="upper bound of a gene")
    genes: Literal["block", "matrix", "block_and_kind"] = Field(
        "block",
        description="the matrices of a gene: a block, a single matrix, or a block and a kind of matrix in all blocks, "
        "whose values are added",
    )
    score: str | FormulaSettings = Field(
        "magnitude",
        description="ranks the weights of a matrix, of a row for wanda, and the lowest are removed first: "
        "magnitude, wanda, gblm, or {formula: TEXT}",
    )
    reconstruct: Literal["none", "least_squares"] = Field(
        "none",
        description="the result is also scored with its remaining weights updated by least squares to compensate for "
        "the removed ones, which SparseGPT chooses",
    )
    reconstruct_stages: tuple[Fraction, ...] = Field(
        (),
        description="sparsities at which each layer is reconstructed before the search, so that candidates are scored "
        "with updated weights; each needs memory for a copy of the model and the bins of its ranks",
    )
    curve: tuple[Fraction, ...] = Field(
        (0.1, 0.2, 0.3, 0.4, 0.5), description="sparsities at which uniform pruning is scored beside the search"
    )

    @field_validator("score", mode="before", json_schema_input_type=str | FormulaSettings)
    @classmethod
    def _known_score(cls, value: Any) -> Any:
        """Check one form alone: a union would tell the faults of both."""
        try:
            if isinstance(value, Mapping):
                return check_parameters(FormulaSettings, value, "")
            if isinstance(value, str):
                check_plugin(SCORES, value)
        except InputError as error:
            raise ValueError("; ".join(error.problems)) from None
        if not isinstance(value, str | FormulaSettings):
            raise ValueError(f"expected a name, or {{formula: TEXT}}, got {value!r}")
        return value

    @model_validator(mode="after")
    def _consistent_weights(self) -> Self:
        stages = self.reconstruct_stages
        if stages and self.reconstruct == "none":
            raise ValueError("reconstruct_stages needs reconstruct: least_squares")
        if any(low >= up for low, up in pairwise((0.0, *stages, 1.0))):
            raise ValueError(f"reconstruct_stages {list(stages)}: expected rising sparsities such as [0.3, 0.4, 0.5]")
        return self
