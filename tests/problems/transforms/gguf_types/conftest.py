"""What tests of the transform ``types`` share."""

from __future__ import annotations

import pytest


@pytest.fixture
def types(language_model):
    """Makes the transform on the small model."""
    return lambda **settings: language_model(transforms={"use": "types"} | settings).session.transform
