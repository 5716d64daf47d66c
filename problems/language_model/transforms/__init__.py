"""Transforms: genes that make a resident model smaller, and their common interface."""

TRANSFORMS = "evoprune.transforms"  # the group of entry points
UNIFORM = "uniform"  # the genome with the same share in all genes
