"""Fixtures for folders whose tests export: import them in their ``conftest.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evoprune.problems.export import check, folder, runtime

_FRESH = folder.run_python, runtime._in_fresh_process


@pytest.fixture(scope="session", autouse=True)
def _short_checks() -> Iterator[None]:
    """Check and time exports in this process, as a fresh one takes seconds to begin, and not for exact times."""

    def check_here(*told: str, **_: Any) -> dict[str, Any]:
        return check.main(json.loads(Path(told[-1]).read_text()))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("export.runtime._SECONDS", "gguf.runtime._SECONDS", "budgets.milliseconds._SECONDS"):
            patch.setattr(f"evoprune.problems.{name}", 0.0)
        patch.setattr("evoprune.problems.transforms.latency._TURN", 0.0)
        patch.setattr(folder, "run_python", check_here)
        patch.setattr(runtime, "_in_fresh_process", lambda _, job: runtime.main(job))
        yield


@pytest.fixture
def fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are checked and timed in processes of their own."""
    monkeypatch.setattr(folder, "run_python", _FRESH[0])
    monkeypatch.setattr(runtime, "_in_fresh_process", _FRESH[1])
