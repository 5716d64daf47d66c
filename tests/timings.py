"""A fixture for folders whose tests export: import it in their ``conftest.py``."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test needs times that are exact."""
    for module in ("export.runtime", "gguf.runtime", "budgets.milliseconds"):
        monkeypatch.setattr(f"problems.{module}._SECONDS", 0.2)
