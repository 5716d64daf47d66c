"""Statistics of a layer on calibration text, for scores; updates of the remaining weights. Imports no torch."""

# Cost of an update, measured once, as tokens that are scored.
SOLVING = {"least_squares": 320, "sparsegpt": 80, "none": 0}  # products with a Gram matrix for each input of a layer
UPDATED, PASSES = 2, 2  # updated models (the evolved and the uniform one), passes of the calibration text through each
