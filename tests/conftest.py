"""What tests share: the text and the real model beside the project, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("EVOPRUNE_SHARED", Path(__file__).resolve().parent.parent.parent / "shared"))


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """The folder with WikiText-2's valid.txt and test.txt; skips where it is not."""
    folder = SHARED / "data" / "wikitext-2"
    if not folder.is_dir():
        pytest.skip(f"WikiText-2 is not at {folder} (set EVOPRUNE_SHARED)")
    return folder
