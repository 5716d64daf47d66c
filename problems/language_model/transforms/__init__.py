"""Transforms: genes that make a resident model smaller, and their common interface."""

TRANSFORMS = "evoprune.transforms"  # the group of entry points
UNIFORM = "uniform"  # the genome with the same share in all genes


def uniform_name(share: float) -> str:
    """Return the name of the uniform genome of ``share``, where there are several."""
    return f"{UNIFORM} {100 * share:g}%"
