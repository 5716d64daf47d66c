"""The parameters of the cut in heads. Imports no torch."""

from __future__ import annotations

from problems.transforms.units.settings import UnitsSettings


class HeadsSettings(UnitsSettings):
    """Those of all cuts in units."""
