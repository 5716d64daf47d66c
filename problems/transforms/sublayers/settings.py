"""The parameters of the cut in depth. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from evoprune import Settings


class SublayersSettings(Settings):
    """What a gene removes, and which blocks are always kept."""

    genes: Literal["sublayer", "block"] = Field(
        "sublayer", description="what a gene keeps or drops: the attention or the MLP of a block, or the whole block"
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks always kept, counted from 0; -1 is the last: [0, -1] keeps the first and the last"
    )
