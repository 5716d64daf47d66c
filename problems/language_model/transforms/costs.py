"""The costs of genomes, in the units that budgets limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evoprune import InputError, Price

if TYPE_CHECKING:
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.transforms.transform import Transform

WEIGHTS = "weights"  # of the blocks' matrices
PARAMETERS = "parameters"  # of the whole model
BYTES = "bytes"  # of the file that holds the model

Prices = tuple[list[Price], float]
"""The change of the cost by each gene, 0 in the dense model, and the cost of the dense model."""


def costs_of(transform: Transform, unit: str) -> Prices:
    """Return the prices of ``transform``; by default a parameter takes the bytes of the model's dtype."""
    if unit in transform.units:
        return transform.prices(unit)
    if unit == BYTES:
        return scaled(costs_of(transform, PARAMETERS), transform.resident.model.dtype.itemsize)
    name = type(transform).__name__
    raise InputError(f"{name} counts in {', '.join(transform.units)}, not in '{unit}'", "problem.budget")


def dense_amount(resident: Resident, unit: str) -> float:
    """Return the ``unit`` of the dense model: its weights or parameters."""
    return float(resident.prunable_weights if unit == WEIGHTS else resident.parameters)


def scaled(prices: Prices, factor: float) -> Prices:
    """Return ``prices`` times ``factor``."""
    changes, dense = prices
    return [[factor * x for x in one] if isinstance(one, Sequence) else factor * one for one in changes], factor * dense
