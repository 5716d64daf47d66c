"""The parameters of the cut in channels. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from problems.transforms.units.settings import UnitsSettings


class ChannelsSettings(UnitsSettings):
    """How many channels one level removes."""

    step: int = Field(
        32, ge=32, description="channels between two levels, at least 32: fewer do not fit quantised and vector kernels"
    )
