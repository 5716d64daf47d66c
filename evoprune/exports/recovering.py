"""Recovers results into new folders, so that what was interrupted can go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evoprune.console.phase import is_first_process
from evoprune.errors import InputError
from evoprune.experiment import config
from evoprune.experiment.config import Config
from evoprune.exports.exporting import EXPERIMENT, FACTS, UNFIT, export, is_one_file, refuse_unless_free
from evoprune.files.json_files import read_json
from evoprune.interfaces.export import CHECKPOINT, Exported, Recovering
from evoprune.records import run_folder

_LOCK = "unfinished.lock"
"""Not ``lock``, which makes a folder a run's."""

Write = Callable[[Path, Path], Exported]
"""Recovers with checkpoints in the first folder, and writes into the second, or the file."""


def recover_into(
    out: Path, write: Write, made_by: Mapping[str, Any], experiment: Config | None, is_file: bool = False
) -> Exported:
    """As :func:`evoprune.exports.exporting.export`; checkpoints lie beside ``out`` until it is there."""
    refuse_unless_free(out, is_file)
    workplace = out.with_name(f"{out.name}.unfinished")

    with held(workplace):
        exported = export(out, lambda place: write(workplace, place), made_by, experiment, is_file)
        shutil.rmtree(workplace)
    return exported


def recover_export(problem: type[Recovering], source: Path, out: Path, options: Any) -> Exported:
    """Recover what lies in the folder ``source``. Raises :class:`InputError`, and ``Stopped`` if it did not help."""
    if not source.is_dir():
        raise InputError("no such folder; expected a run's, or an exported model's", str(source))
    if is_one_file(problem, out):
        raise InputError("what lies in a folder is recovered to a folder; give the run itself for a file", str(out))
    ours = (source / FACTS).exists()
    facts = read_json(source / FACTS) if ours else None
    if facts and not facts.get("fit"):
        raise InputError(f"must not be used: see {UNFIT} there", str(source))
    made_by: dict[str, Any] = {key: facts[key] for key in ("seed", "best") if key in facts} if facts else {}
    described = source / EXPERIMENT
    experiment = config.read(described) if ours and described.exists() else None

    def write(workplace: Path, folder: Path) -> Exported:
        return problem.recover_export(source, facts, workplace, folder, options)

    return recover_into(out, write, made_by, experiment)


def clear(workplace: Path) -> None:
    """Delete ``workplace``, if it is there, and no work was done: it holds no checkpoints."""
    if workplace.exists() and not any(workplace.glob(f"**/{CHECKPOINT}*")):
        shutil.rmtree(workplace)


@contextmanager
def held(workplace: Path) -> Iterator[None]:
    """Make ``workplace``, and keep other processes out, but for those that a launcher started beside this one.

    It is gone again where no work was done. Raises :class:`InputError`.
    """
    if not is_first_process():
        yield
        return
    new = not workplace.exists()
    try:
        workplace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", str(workplace)) from None
    try:
        with run_folder.locked(workplace, _LOCK):
            yield
    except BaseException:  # an interruption, too: what holds no checkpoints would only refuse other options later
        if new:
            clear(workplace)
        raise
