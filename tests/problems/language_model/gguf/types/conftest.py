"""Fixtures of the tests of the transform ``types``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("gguf") and find_spec("llama_cpp_py_sync") else ["test_*.py"]


@pytest.fixture(scope="session")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all tests here: matrices are quantised once."""
    return tmp_path_factory.mktemp("quantised")


@pytest.fixture(autouse=True)
def cache(quantised: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVOPRUNE_CACHE", str(quantised))
    return quantised


@pytest.fixture
def types(language_model):
    """Makes the transform on the small model."""
    return lambda **settings: language_model(transforms={"use": "types"} | settings).session.transform.transforms[0]
