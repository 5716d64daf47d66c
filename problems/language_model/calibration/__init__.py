"""Statistics of a layer on calibration text, for scores; updates of the remaining weights."""
