"""The cut in single weights: from genes to a masked model."""
