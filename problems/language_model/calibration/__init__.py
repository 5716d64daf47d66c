"""Statistics of a layer that scores read, gathered on calibration text."""
