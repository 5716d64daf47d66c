"""Statistics of layers on calibration text, kept on disk, and updates of weights that are based on them."""
