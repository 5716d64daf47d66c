"""Writes an export completely or not at all, and marks one that failed its check.

An export is a folder, or one file: what a folder holds beside it then lies in files whose names begin with its own.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evoprune.console.phase import Phase
from evoprune.errors import InputError, Stopped
from evoprune.experiment.config import Config
from evoprune.experiment.resolve import resolve_at
from evoprune.files.json_files import read_json, write_json
from evoprune.interfaces.export import Exported, Exporting
from evoprune.records import run_folder

FACTS, EXPERIMENT, CARD, UNFIT = "evoprune.json", "experiment.yaml", "README.md", "UNFIT.txt"


def about(out: Path, name: str) -> Path:
    """Where the file ``name`` about the exported file ``out`` lies: ``small.README.md`` beside ``small.gguf``."""
    return out.with_name(f"{out.stem}.{name}")


def described_in(out: Path, name: str, is_file: bool) -> Path:
    """Where the file ``name`` about the export ``out`` lies: see :func:`about`, or in the folder that it is."""
    return about(out, name) if is_file else out / name


def export(
    out: Path,
    write: Callable[[Path], Exported],
    made_by: Mapping[str, Any],
    experiment: Config | None,
    is_file: bool = False,
) -> Exported:
    """Let ``write`` fill a new folder, or make a file in one, and give it the name ``out`` when all is there.

    ``evoprune.json`` gets the facts and ``made_by``, ``experiment.yaml`` the ``experiment``, if there is one; of a file
    see :func:`about`. Raises :class:`InputError` if ``out`` holds anything, and :class:`Stopped` if the problem found
    faults in what it wrote: it is then there, and ``UNFIT.txt`` says what they are.
    """
    refuse_unless_free(out, is_file)
    _clear_parts(out)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{part}': {error.strerror}", str(out)) from None
    try:
        target = part / out.name if is_file else part
        with Phase(f"writing and checking {out}"):
            exported = write(target)
        state = {"fit": not exported.faults, "faults": list(exported.faults)}
        facts, described, unfit = (described_in(target, name, is_file) for name in (FACTS, EXPERIMENT, UNFIT))
        write_json(facts, {**state, **made_by, **exported.facts})
        if experiment is not None:
            run_folder.write_config(part, experiment, described.name)
        if exported.faults:
            text = "\n".join(["Do not use these files: what was written is not what the run found.", *exported.faults])
            unfit.write_text(text + "\n", encoding="utf-8")
        if is_file:
            _move(part, out)
        else:
            part.replace(out)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(out)) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if exported.faults:
        told = f"see {about(out, UNFIT).name}" if is_file else f"see {UNFIT} there"
        raise Stopped(f"{out} must not be used, {told}: {'; '.join(exported.faults)}")
    return exported


def _clear_parts(out: Path) -> None:
    """Delete what processes that were killed left of ``out``."""
    if not out.parent.is_dir():
        return
    for path in out.parent.iterdir():
        found = re.fullmatch(rf"\.{re.escape(out.name)}\.(\d+)\.part", path.name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def load(folder: str | Path) -> Any:
    """What the command ``export`` wrote to ``folder``, ready to use from Python: a model and its tokenizer, say.

    Raises :class:`InputError` if the folder is no export, or if it failed its check.
    """
    folder = Path(folder)
    facts = read_json(folder / FACTS, "the folder of an export")
    if not facts.get("fit"):
        raise InputError(f"must not be used: see {UNFIT} there", str(folder))
    asked = resolve_at(folder / EXPERIMENT, [])
    if not issubclass(asked.problem, Exporting):
        raise InputError(f"the problem {asked.experiment.problem.use} exports nothing", str(folder))
    return asked.problem.load(folder, facts)


def refuse_unless_free(out: Path, is_file: bool = False) -> None:
    """Raise :class:`InputError` unless ``out`` is a name not taken, or, for a folder, an empty folder.

    Also where it cannot be made: a search may take hours before it is written.
    """
    try:
        taken = out.exists() and (is_file or not (out.is_dir() and not any(out.iterdir())))
        home = next(folder for folder in out.absolute().parents if folder.exists())
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(out)) from None
    if taken or not out.name:
        raise InputError(
            "exists already and is not an empty folder; choose another name, nothing was changed", str(out)
        )
    if not (home.is_dir() and os.access(home, os.W_OK | os.X_OK)):
        raise InputError(f"cannot be written: '{home}' is no folder in which this user may make files", str(out))
    if is_file:
        for name in (FACTS, EXPERIMENT, CARD, UNFIT):
            refuse_unless_free(about(out, name))


def _move(part: Path, out: Path) -> None:
    """Move all files of ``part`` to where ``out`` is, ``out`` itself at last; none of them where that fails."""
    moved: list[Path] = []
    try:
        for path in sorted(part.iterdir(), key=lambda path: path.name == out.name):
            moved.append(path.replace(out.with_name(path.name)))
    except OSError:
        for path in moved:
            path.unlink()
        raise
