"""A run's result, as ``result.json`` holds it."""

from __future__ import annotations

from typing import Any

import pytest

TEXT = {"source": "/home/me/texts/valid.txt", "window": 32, "windows": 4, "sha256": "abc"}


@pytest.fixture
def result() -> dict[str, Any]:
    """Of a run on a model of one's own, whose uniform pruning is infinitely bad."""
    return {
        "sparsity": {"prunable": 0.45, "model": 0.4},
        "perplexity": {text: {"dense": 20.5, "uniform": None, "evolved": 30.25} for text in ("search", "report")},
        "gap_closed": None,
        "genes": ["block 0", "block 1"],
        "protocol": {
            "model": "owner/name",
            "weights_sha256": "123",
            "dtype": "bfloat16",
            "device": "cpu",
            "search_text": dict(TEXT),
            "report_text": dict(TEXT),
        },
        "seed": 7,
        "best": {"genome": [0.4, 0.5]},
    }
