"""Costs of genomes in the units of budgets. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evoprune import Additive, Genes, InputError, Price

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.models.resident import Resident

WEIGHTS = "weights"  # of the blocks' matrices
PARAMETERS = "parameters"  # of the whole model
BYTES = "bytes"  # of the file that holds the model

Prices = tuple[Sequence[Price], float]
"""The change of the cost by each gene, 0 for the dense genome, and the cost of the dense model."""


def dense_cost(resident: Resident, unit: str) -> float:
    """Return the number of weights or parameters, by ``unit``, of the dense model."""
    return float(resident.prunable_weights if unit == WEIGHTS else resident.parameters)


def checked(prices: Prices, genes: Genes, source: str) -> Prices:
    """Return ``prices``. Raises :class:`evoprune.InputError` that names ``source`` unless they are of ``genes``."""
    try:
        changes, dense = prices
        Additive(genes, changes, None, fixed=float(dense))
    except (TypeError, ValueError) as error:
        raise InputError(
            "expected a price for each gene (a number, or a list of one for each level) and the cost of the dense "
            f"model, as in ([-100.0, [0.0, -50.0]], 150.0): {error}",
            source,
        ) from None
    return prices


def scaled(prices: Prices, factor: float) -> Prices:
    """Return ``prices`` times ``factor``."""
    changes, dense = prices
    return [[factor * x for x in one] if isinstance(one, Sequence) else factor * one for one in changes], factor * dense
