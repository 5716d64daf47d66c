"""The parameters of the pruning problem, as in a YAML file. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from evoprune import Fraction
from problems.language_model.settings import LanguageModelSettings, registered
from problems.pruning.cuts.weights.settings import WeightsSettings

ALLOCATIONS = "evoprune.allocations"
"""The group of entry points of allocations."""

UNIFORM = "uniform"
"""The name of the uniform allocation among initial genomes."""

TOLERANCE = 1e-4
"""The largest distance at which a sparsity counts as the target sparsity."""

AllocationName = Annotated[str, registered(ALLOCATIONS)]
InitialName = Annotated[str, registered(ALLOCATIONS, UNIFORM)]


def uniform_name(sparsity: float) -> str:
    """The name of the uniform allocation at ``sparsity`` among the references."""
    return f"uniform {100 * sparsity:g}%"


class PruningSettings(LanguageModelSettings, WeightsSettings):
    """Parameters of the pruning problem."""

    renamed: ClassVar[Mapping[str, str]] = {
        **WeightsSettings.renamed,
        "advice": "prior",
        "starts": "initial_genomes",
    }

    sparsity: Fraction = Field(0.45, description="share of the prunable weights that is removed")
    allocations: tuple[AllocationName, ...] = Field(
        (),
        description="allocations without search, scored as references: owl, alpha, erdos_renyi, global, "
        "global_normalised, layer_errors",
    )
    initial_spread: Fraction = Field(
        0.15, description="largest distance of random first genomes from the target sparsity"
    )
    initial_genomes: tuple[InitialName, ...] = Field(
        (UNIFORM,), description="in the first population: uniform, and allocations by name, see above"
    )
    prior: AllocationName | None = Field(
        None, description="an allocation by name, see above, that guides exchange if its strength is above 0"
    )
    curve: tuple[Fraction, ...] = Field((0.1, 0.2, 0.3, 0.4, 0.5), description="sparsities of the uniform curve")
    second_objective: Literal["none", "sparsity"] = Field(
        "none", description="sparsity: the search finds all trade-offs, without a budget; use nsga2, and no repair"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PruningSettings:
        if not self.min_sparsity <= self.sparsity <= self.max_sparsity:
            raise ValueError(
                f"sparsity {self.sparsity:g} cannot be reached with genes between min_sparsity "
                f"{self.min_sparsity:g} and max_sparsity {self.max_sparsity:g}"
            )
        if self.genes == "block_and_kind" and self.found:
            raise ValueError(
                "allocations, also as initial_genomes or prior, need genes that are sparsities of their own: "
                "block, matrix or kind"
            )
        return self

    @property
    def found(self) -> tuple[str, ...]:
        """The allocations without search that the settings name: as references, initial genomes or prior."""
        prior = [self.prior] if self.prior else []
        return tuple(dict.fromkeys([*self.allocations, *(n for n in self.initial_genomes if n != UNIFORM), *prior]))
