"""One threshold for the scores of the whole model."""

from __future__ import annotations

import torch

from evoprune import Budget
from problems.allocations.fitting import Loss, fit, shift
from problems.transforms.weights.transform import Weights

_QUANTILES = 4097  # of each matrix's scores: its sparsity at a threshold is accurate to 1/4096


def raw(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """Remove the lowest scores of the whole model.

    The global ranking of Blalock et al., "What is the State of Neural Network Pruning?", MLSys 2020, by the score that
    the settings choose.
    """
    return _ranked(cut, budget, normalise=False)


def normalised(cut: Weights, budget: Budget, loss: Loss) -> list[float]:
    """As :func:`raw`, after dividing each matrix's scores by their root mean square.

    Layers are then compared by the shape of their scores alone, as with the layerwise normalised Taylor scores of
    Molchanov et al., ICLR 2017.
    """
    return _ranked(cut, budget, normalise=True)


def _ranked(cut: Weights, budget: Budget, normalise: bool) -> list[float]:
    quantiles = {}
    for matrix, score in cut.scored():
        values = score.flatten().sort().values.cpu()  # MPS has no float64
        places = torch.linspace(0, len(values) - 1, _QUANTILES, dtype=torch.float64).round().long()
        scale = float(values.double().square().mean().sqrt()) or 1.0 if normalise else 1.0  # 0 if all scores are
        quantiles[matrix.name] = values[places].double() / scale

    def genome_at(threshold: float) -> list[float]:
        below = {name: float(torch.searchsorted(values, threshold)) / _QUANTILES for name, values in quantiles.items()}
        return [sum(below[m.name] * m.size for m in group.matrices) / group.size for group in cut.groups]

    highest = max(float(values[-1]) for values in quantiles.values())
    lowest = min(float(values[0]) for values in quantiles.values())
    # Equal scores make sparsities jump, so the fit can miss the budget; the shift corrects that.
    return shift(budget, fit(budget, genome_at, lowest, highest))
