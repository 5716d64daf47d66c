from typing import Annotated

from pydantic import Field

from evoprune import Additive


def channels(transform, *, kept: Annotated[float, Field(gt=0, le=1, description="share of all channels that stay")]):
    """Keep a share of the channels."""
    tables = [[gene.levels[-1] - level for level in gene.levels] for gene in transform.genes]
    return Additive(transform.genes, tables, kept * sum(table[0] for table in tables), "channels")
