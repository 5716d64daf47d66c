"""What parts of a run take, as tokens that are scored: measured once, on two models. Imports no torch."""

from __future__ import annotations

SOLVING = {"least_squares": 320, "sparsegpt": 80, "none": 0}
"""An update of all weights, for each input of a layer: so many products with a Gram matrix."""

UPDATED, PASSES = 2, 2
"""Models that are updated, the evolved and the uniform one; and how often the calibration text runs through each."""
