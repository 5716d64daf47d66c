"""Runs Python in a fresh process, and reads the JSON that it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The process ended with an error: the last line that it wrote. ``log``: all that it wrote, or its exit code."""

    def __init__(self, log: str) -> None:
        super().__init__(log.splitlines()[-1])
        self.log = log


def run_python(*arguments: str, **options: Any) -> dict[str, Any]:
    """What ``python`` with ``arguments`` prints; ``options`` of ``subprocess.run``. Raises :class:`Failed`."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def environment() -> dict[str, str]:
    """The environment of a process that imports the same evoprune as this one."""
    home = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}
