"""Numbers as JSON can hold them."""

from __future__ import annotations

import math


def finite(value: float) -> float | None:
    """``value``, or None (JSON's null) where it is infinite or not a number."""
    return value if math.isfinite(value) else None
