"""Python in a fresh process that prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The process failed: the last line of its ``log``, which is all of its stderr, or else its exit code."""

    def __init__(self, log: str) -> None:
        super().__init__(log.splitlines()[-1])
        self.log = log


def run_python(*arguments: str, **options: Any) -> dict[str, Any]:
    """Run ``python`` with ``arguments`` and return the JSON that it prints. Raises :class:`Failed`.

    ``options``: of ``subprocess.run``.
    """
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def environment() -> dict[str, str]:
    """Return the environment variables of a process that imports the same evoprune as this one."""
    home = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}
