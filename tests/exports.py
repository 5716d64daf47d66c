"""Fixtures for folders whose tests export: import them in their ``conftest.py``."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from evoprune.problems.language_model.export import check, folder, runtime
from evoprune.problems.language_model.gguf import runtime as llama_runtime

_FRESH = folder.run_python, runtime._in_fresh_process, llama_runtime._run


@pytest.fixture(scope="session", autouse=True)
def _short_checks() -> Iterator[None]:
    """Check and time exports in this process, as a fresh one takes seconds to begin, and not for exact times.

    Memory is counted in a process of its own all the same.
    """

    def check_here(*told: str, **_: Any) -> dict[str, Any]:
        return check.main(json.loads(Path(told[-1]).read_text()))

    def llama_here(job: dict[str, Any], _: float | None = None, script: str = "llama.py") -> dict[str, Any]:
        if "context" in job:
            return _FRESH[2](job)
        from evoprune.problems.language_model.gguf import llama, quantiser  # which not every machine can import

        with redirect_stderr(StringIO()) as log:
            try:
                return json.loads(json.dumps((llama if script == "llama.py" else quantiser).main(job)))
            except Exception:
                return {"failure": llama_runtime._reason(log.getvalue() + traceback.format_exc())}

    with pytest.MonkeyPatch.context() as patch:
        for name in ("export.runtime._SECONDS", "gguf.runtime._SECONDS", "budgets.milliseconds._SECONDS"):
            patch.setattr(f"evoprune.problems.language_model.{name}", 0.0)
        patch.setattr("evoprune.problems.language_model.transforms.latency._TURN", 0.0)
        patch.setattr(folder, "run_python", check_here)
        patch.setattr(runtime, "_in_fresh_process", lambda _, job, __: runtime.main(job))
        patch.setattr(llama_runtime, "_run", llama_here)
        yield


@pytest.fixture
def fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are checked and timed in processes of their own."""
    monkeypatch.setattr(folder, "run_python", _FRESH[0])
    monkeypatch.setattr(runtime, "_in_fresh_process", _FRESH[1])
    monkeypatch.setattr(llama_runtime, "_run", _FRESH[2])
