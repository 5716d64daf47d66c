"""Transforms: genes that make a resident model smaller, a folder each, and the interface that they share."""

TRANSFORMS = "evoprune.transforms"  # the group of entry points
