"""The costs of genomes, in the units that budgets limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evoprune import InputError, Price

if TYPE_CHECKING:
    from evoprune.problems.language_model.models.resident import Resident
    from evoprune.problems.language_model.transforms.stack_costs import StackCosts
    from evoprune.problems.language_model.transforms.transform import Transform

WEIGHTS = "weights"  # of the blocks' matrices
PARAMETERS = "parameters"  # of the whole model
ATTENTION = "attention width"  # heads times head size, summed over the blocks
BYTES = "bytes"  # of the file that holds the model

Prices = tuple[list[Price], float]
"""The cost of each gene, and the cost that does not depend on the genes; see :class:`evoprune.Additive`."""


def costs_of(transform: Transform | StackCosts, unit: str, name: str) -> Prices:
    """Return the prices of ``transform``, called ``name``; by default a parameter takes the bytes of its dtype."""
    if unit in transform.units:
        return transform.prices(unit)
    if unit == BYTES:
        return scaled(costs_of(transform, PARAMETERS, name), transform.resident.model.dtype.itemsize)
    raise InputError(f"{name} counts in {', '.join(transform.units)}, not in '{unit}'", "problem.budget")


def dense_amount(resident: Resident, unit: str) -> float:
    """Return the ``unit`` of the dense model: its weights, parameters or attention width."""
    totals = {WEIGHTS: resident.prunable_weights, PARAMETERS: resident.parameters, ATTENTION: resident.attention_width}
    return float(totals[unit])


def scaled(prices: Prices, factor: float) -> Prices:
    """Return ``prices`` and the fixed cost times ``factor``."""
    changes, fixed = prices
    scaled: list[Price] = [
        [factor * each for each in one] if isinstance(one, Sequence) else factor * one for one in changes
    ]
    return scaled, factor * fixed
