"""Starts the command line on an experiment, with one of the backends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evoprune.experiment import registry
from evoprune.records import history, recorded, run_folder

BACKENDS = ("processes", "scoop", "dask")


@dataclass
class Started:
    """A run that goes on in ``folder``."""

    process: subprocess.Popen[str]
    folder: Path

    def finished(self) -> list[history.Line]:
        """Wait for its end; return its history."""
        _, errors = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(errors)
        return list(recorded.lines(self.folder / run_folder.HISTORY))


def begin(experiment: str, folder: Path, backend: str, workers: int, settings: Mapping[str, str]) -> Started:
    """Start a run with one thread for each of ``workers``."""
    command = [sys.executable, "-m", "evoprune", "run", experiment, "--runs-dir", str(folder.parent)]
    command += ["--name", folder.name, "--threads", "1", "--map", backend]
    command += ["-n", str(workers)] if backend != "serial" else []
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    environment = os.environ | {"PYTHONPATH": str(registry.HOME)}
    return Started(subprocess.Popen(command, text=True, env=environment, cwd=registry.HOME, **pipes), folder)
