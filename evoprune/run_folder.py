"""The folder that a run leaves behind, and what is written into it.

``config.yaml`` (running it again repeats the run), ``environment.json``,
``history.jsonl``, ``status.json``, ``result.json`` and the problem's figures.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import yaml

from evoprune.config import Config
from evoprune.errors import InputError


def choose(runs_dir: Path, name: str | None, experiment: str) -> Path:
    """The folder for a new run, not yet made: ``name``, or the experiment's name and the time.

    Raises :class:`InputError` if ``name`` is taken or is not a plain folder name.
    """
    if name is not None:
        if name in {"", ".", ".."} or Path(name).name != name:
            raise InputError(f"expected a plain folder name, got '{name}'", "--name")
        if _exists(runs_dir / name):
            raise InputError(f"'{runs_dir / name}' exists already; choose another name, nothing was changed", "--name")
        return runs_dir / name
    stem = f"{experiment}-{datetime.now():%Y%m%d-%H%M%S}"
    candidates = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    return next(runs_dir / c for c in candidates if not _exists(runs_dir / c))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no permission, or too long a name; :func:`create` says so
        return False


def create(folder: Path) -> None:
    """Make ``folder``. Raises :class:`InputError` where it cannot be made or exists."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"'{folder}' exists already; nothing was changed", "--runs-dir") from None
    except OSError as error:
        raise InputError(f"cannot make the run's folder '{folder}': {error.strerror}", "--runs-dir") from None


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` so that ``path`` holds the old text or the new one, never a part."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_config(folder: Path, config: Config, name: str = "config.yaml") -> None:
    """Write the resolved experiment."""
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    (folder / name).write_text(text, encoding="utf-8")


def write_status(folder: Path, state: str, reason: str | None = None) -> None:
    """Write ``status.json``: running, done, stopped, interrupted or failed, when, and why."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / "status.json", {"state": state, "reason": reason, "at": now, "pid": os.getpid()})


def environment() -> dict[str, Any]:
    """What the run ran on: command, Python, machine, and every installed package."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": dict(sorted((d.metadata["Name"], d.version) for d in distributions() if d.metadata["Name"])),
    }
