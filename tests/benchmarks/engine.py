"""The engine's own share of a run: all that is not spent in ``evaluate``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def engine(changes: list[str]) -> dict[str, Any]:
    """Run the bundled experiment, with ``changes`` for ``--set``, and read its times."""
    with TemporaryDirectory(prefix="runs-") as home:
        command = [sys.executable, "-m", "evoprune", "run", "problems/gpt2_mini.yaml"]
        command += ["--runs-dir", home, "--name", "a"]
        for change in changes:
            command += ["--set", change]
        subprocess.run(command, check=True, capture_output=True)
        result = json.loads((Path(home) / "a" / "result.json").read_text())
    share = 1 - result["seconds_evaluating"] / result["seconds"]
    return {key: result[key] for key in ("evaluations", "seconds", "seconds_evaluating")} | {"share": share}
