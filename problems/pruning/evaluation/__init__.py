"""From a masked model to a score."""
