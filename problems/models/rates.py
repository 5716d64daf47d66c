"""What parts of a run take, measured once; but for quantising as tokens that are scored. Imports no torch."""

from __future__ import annotations

SOLVING = {"least_squares": 320, "sparsegpt": 80, "none": 0}
"""An update of all weights, for each input of a layer: so many products with a Gram matrix."""

UPDATED, PASSES = 2, 2
"""Models that are updated, the evolved and the uniform one; and how often the calibration text runs through each."""

QUANTISING = 1.5e-7
"""Seconds of one thread for each weight in each type of GGUF, roughly: types of 32 weights take less, others more."""
