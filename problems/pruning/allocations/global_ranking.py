"""One threshold for the scores of the whole model."""

from __future__ import annotations

import torch

from problems.pruning.allocations.budget import fit, shift
from problems.pruning.evaluation.evaluator import Evaluator

_QUANTILES = 4097
"""Of each matrix's scores: its sparsity at a threshold is known to a quarter of a thousandth."""


def raw(evaluator: Evaluator) -> list[float]:
    """What each group loses if the model's lowest scores go, wherever they are.

    The global ranking of Blalock et al., "What is the State of Neural Network Pruning?",
    MLSys 2020, by the score that the settings choose.
    """
    return _ranked(evaluator, normalise=False)


def normalised(evaluator: Evaluator) -> list[float]:
    """As a global ranking, but each matrix's scores are first divided by their root mean square.

    So that layers are compared by the shape of their scores alone, as with the layerwise
    normalised Taylor scores of Molchanov et al., ICLR 2017.
    """
    return _ranked(evaluator, normalise=True)


def _ranked(evaluator: Evaluator, normalise: bool) -> list[float]:
    quantiles = {}
    for matrix, score in evaluator.scored():
        values = score.flatten().sort().values.cpu()  # MPS has no float64
        places = torch.linspace(0, len(values) - 1, _QUANTILES, dtype=torch.float64).round().long()
        scale = float(values.double().square().mean().sqrt()) or 1.0 if normalise else 1.0  # 0 where all scores are
        quantiles[matrix.name] = values[places].double() / scale

    def genome_at(threshold: float) -> list[float]:
        below = {name: float(torch.searchsorted(values, threshold)) / _QUANTILES for name, values in quantiles.items()}
        return [sum(below[m.name] * m.size for m in group.matrices) / group.size for group in evaluator.groups]

    highest = max(float(values[-1]) for values in quantiles.values())
    lowest = min(float(values[0]) for values in quantiles.values())
    # Equal scores make sparsities jump, and the last step is not on the budget: the shift puts it there.
    return shift(evaluator, fit(evaluator, genome_at, lowest, highest))
