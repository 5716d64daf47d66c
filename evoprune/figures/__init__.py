"""The style of all figures, and the figures of a search."""
