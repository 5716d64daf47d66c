"""The bundled tokenizer."""

from pathlib import Path
from typing import Any

import pytest

from problems.models.load import load_tokenizer

BUNDLED = Path(__file__).parents[4] / "problems" / "bundled" / "weights"


@pytest.fixture(scope="session")
def bundled() -> Any:
    """The tokenizer of 4,096 tokens: byte-level BPE."""
    return load_tokenizer(BUNDLED)
