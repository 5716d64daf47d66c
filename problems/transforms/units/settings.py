"""The parameters that cuts in units share. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evoprune import Settings
from problems.models.settings import registered
from problems.scores import SCORES

STRUCTURED = "structured_obs"
"""The name of the order that is no score of single weights."""


class UnitsSettings(Settings):
    """Which units are removed first, which blocks lose none, and what the remaining weights make up for."""

    score: Annotated[str, registered(SCORES, STRUCTURED)] = Field(
        "magnitude",
        description="ranks the units by the sum of the scores of their weights, the lowest are removed first: "
        f"magnitude, wanda, ria, obs, taylor, fisher, gblm; or {STRUCTURED}: by what the output matrix loses without "
        "them when it makes up for it",
    )
    genes: Literal["block", "model"] = Field(
        "block", description="whether each block has a gene, or one gene says how many units stay in all of them"
    )
    keep: tuple[int, ...] = Field(
        (), description="blocks that lose nothing, counted from 0; -1 is the last: [0, -1] is the first and the last"
    )
    drop: bool = Field(
        True, description="whether the last level drops the sublayer with its norm; else it keeps the fewest units"
    )
    compensate: bool = Field(
        False,
        description="refit the output matrix of a narrower sublayer on the calibration text, by least squares, to the "
        "outputs of the dense one",
    )
