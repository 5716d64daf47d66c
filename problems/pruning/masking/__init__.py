"""From genes to a masked model."""
