"""Transforms: genes that make a resident model smaller, a folder each, and the interface that they share."""

TRANSFORMS = "evoprune.transforms"  # the group of entry points
UNIFORM = "uniform"  # the genome that takes the same share everywhere


def uniform_name(share: float) -> str:
    """Return the name of the uniform genome of a ``share`` among several."""
    return f"{UNIFORM} {100 * share:g}%"
