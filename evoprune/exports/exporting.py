"""Writes exports, folders or files with their metadata, atomically, and drafts."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from evoprune.console.errors import InputError, Stopped, did_you_mean, stopping_at_full_disks
from evoprune.console.progress import Progress, note
from evoprune.experiment.config import Config
from evoprune.experiment.parameters import check_parameters
from evoprune.experiment.resolve import resolve_at
from evoprune.files.json_files import read_json, write_json, write_text
from evoprune.files.paths import path_of, staging_folder, without_folders
from evoprune.interfaces.export import Exported, Exporting
from evoprune.interfaces.parts import needed, part
from evoprune.interfaces.problem import Problem
from evoprune.records import run_folder
from evoprune.records.run_folder import PROMISED, Promise

FACTS, EXPERIMENT, CARD, UNFIT = "evoprune.json", "experiment.yaml", "README.md", "UNFIT.txt"
_PAUSE = 5.0  # least time between two drafts, as a multiple of the time of the last one


def sidecar(out: Path, name: str) -> Path:
    """Return the path of a sidecar file of the exported file ``out``: ``small.README.md`` for ``small.gguf``."""
    return out.with_name(f"{out.stem}.{name}")


def metadata_path(out: Path, name: str, is_file: bool) -> Path:
    """Return the path of the metadata file ``name``: a :func:`sidecar` of a file ``out``, or in a folder ``out``."""
    return sidecar(out, name) if is_file else out / name


def export(
    out: Path, write: Callable[[Path], Exported], provenance: Mapping[str, Any], experiment: Config | None,
    is_file: bool = False, overwrite: bool = False,
) -> Exported:  # fmt: skip
    """Create ``out``, a new folder or file, atomically by ``write``.

    ``evoprune.json`` gets the facts and ``provenance``, ``experiment.yaml`` the ``experiment``, both with file names
    in place of paths. ``overwrite``: replace a file ``out``. Raises :class:`Stopped` if the problem found faults in the
    export, which ``UNFIT.txt`` lists.
    """
    refuse_unless_free(out, is_file, overwrite, provenance)
    try:
        with stopping_at_full_disks(out.parent), staging_folder(out) as part:
            target = part / out.name if is_file else part
            with Progress(f"writing and checking {out}"):
                exported = write(target)
            state = {"fit": not exported.faults, "faults": list(exported.faults)}
            state |= {key: words for key in ("verdict", "usage") if (words := getattr(exported, key))}
            path, described, unfit = (metadata_path(target, name, is_file) for name in (FACTS, EXPERIMENT, UNFIT))
            facts, repeated = without_folders([{**state, **provenance, **exported.facts}, experiment])
            write_json(path, facts)
            if repeated is not None:
                run_folder.write_config(part, repeated, described.name)
            if exported.faults:
                lines = ["Do not use these files: what was written is not what the run found.", *exported.faults]
                unfit.write_text("\n".join([*lines, ""]), encoding="utf-8")
            if is_file:
                _move(part, out)
            else:
                part.replace(out)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", str(out)) from None
    return _usable(exported, out, is_file)


def _usable(exported: Exported, out: Path, is_file: bool) -> Exported:
    if exported.faults:
        raise Stopped(f"{out} must not be used, see {metadata_path(out, UNFIT, is_file)}: {'; '.join(exported.faults)}")
    return exported


def existing_export(out: Path, provenance: Mapping[str, Any], is_file: bool) -> Exported | None:
    """Return the export ``out`` if it exists with this ``provenance``. Raises as :func:`export`."""
    facts = _facts(out, provenance, is_file)
    if not facts or not os.path.lexists(out):
        return None
    words = facts.get("verdict", ""), facts.get("usage", "")
    return _usable(Exported(facts, (), facts.get("faults", ()), *words), out, is_file)


def _facts(out: Path, provenance: Mapping[str, Any], is_file: bool) -> dict[str, Any] | None:
    """Return the facts of ``out`` if they contain ``provenance``; a file's facts are written before it."""
    with suppress(InputError):
        facts = read_json(metadata_path(out, FACTS, is_file))
        return facts if provenance and {**facts, **provenance} == facts else None
    return None


def load(folder: str | Path) -> Any:
    """Load an export into Python: a model and its tokenizer, say. Refuses an export that failed its check.

    >>> import evoprune
    >>> evoprune.load("pruned")  # the folder of an export
    Traceback (most recent call last):
        ...
    evoprune.console.errors.InputError: pruned: there is no evoprune.json; expected the folder of an export
    """
    folder = path_of(folder, "folder")
    facts = read_json(folder / FACTS, "the folder of an export")
    if not facts.get("fit"):
        raise InputError(f"must not be used: see {UNFIT} there", str(folder))
    problem = resolve_at(folder / EXPERIMENT, []).problem
    return needed(problem, Exporting, "export", str(folder)).load(folder, facts)


def is_one_file(exporting: type[Exporting], out: Path) -> bool:
    """Return whether ``exporting`` writes ``out`` as one file; refuse an unknown suffix that begins with a letter."""
    suffixes = exporting.file_suffixes()
    if suffixes and out.suffix not in suffixes and out.suffix[1:2].isalpha():  # model-0.5 is a folder
        raise InputError(f"no export ends in {out.suffix}{did_you_mean(out.suffix, suffixes)}", str(out))
    return out.suffix in suffixes


def refuse_unless_free(
    out: Path, is_file: bool = False, overwrite: bool = False, provenance: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Refuse ``out`` if it exists, except an empty folder, or cannot be written; called before hours of search.

    ``is_file``: applies to its sidecar files, too. ``overwrite``: a file ``out`` may exist. Files of a killed
    export of the same ``provenance`` may exist.
    """
    files = [sidecar(out, name) for name in (FACTS, EXPERIMENT, CARD, UNFIT)] if is_file and out.name else []
    try:
        may_be_there = overwrite or not (is_file or out.is_symlink() or not out.is_dir() or any(out.iterdir()))
        wanted = [*([] if may_be_there else [out]), *([] if _facts(out, provenance, is_file) else files)]
        taken = [path for path in wanted if os.path.lexists(path)]
        if taken or not out.name:
            why = "exists already" if is_file else "exists already and is not an empty folder"
            raise InputError(f"{why}; choose another name, nothing was changed", str(taken[0] if taken else out))
        with stopping_at_full_disks(out.parent), staging_folder(out) as part:
            for path in (out, *files):
                write_text(part / path.name, "")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}; choose another place", str(out)) from None


def refuse_without_room(out: Path, needed: float) -> None:
    """Raise :class:`Stopped` if fewer than ``needed`` bytes are free for ``out``."""
    home = next(folder for folder in out.absolute().parents if folder.exists())
    if (free := shutil.disk_usage(home).free) < needed:
        raise Stopped(
            f"cannot write {out}: {os.strerror(errno.ENOSPC)}: about {needed / 1e6:,.1f} MB are needed in {home}, and "
            f"{free / 1e6:,.1f} MB are free; make room, or choose another place"
        )


def _move(part: Path, out: Path) -> None:
    """Move all files of ``part`` next to ``out``: facts first, ``out`` last; undo it if one fails."""
    moved: list[Path] = []
    facts = sidecar(out, FACTS).name
    try:
        for path in sorted(part.iterdir(), key=lambda path: (path.name == out.name, path.name != facts)):
            moved.append(path.replace(out.with_name(path.name)))
    except OSError:
        for path in moved:
            path.unlink()
        raise


class Draft:
    """Writes drafts of the export of the run in ``folder`` to ``out``; None if there are none."""

    def __init__(self, folder: Path, problem: Problem) -> None:
        self._folder, self._exporting = folder, part(problem, Exporting)
        promise = Promise.read(folder) if self._exporting else None
        self.out = Path(promise.out) if promise and promise.out else None
        self._written: Sequence[float] | None = None
        self._next = self.seconds = 0.0
        """Seconds that the last draft took."""

    def write(self, genome: Sequence[float], now: bool = False, quality: str = "") -> None:
        """Write a new ``genome``, ``now`` or if the last draft is old enough. ``quality``: of the genome, in words."""
        out, start = self.out, time.monotonic()
        if out is None or self._exporting is None or genome == self._written or (start < self._next and not now):
            return
        try:
            promise = Promise.read(self._folder) or Promise()
            if not is_draft(promise, out):
                refuse_unless_free(out, is_file=True)
            with Progress(f"writing {out}"), staging_folder(out) as place:
                options = check_parameters(self._exporting.ExportOptions, promise.options, PROMISED)
                if not self._exporting.draft(genome, place / out.name, options):
                    self.out = None
                    return
                stamps = [*promise.draft[-1:], _stamp(place / out.name)]  # a kill may come before the file is replaced
                promise.model_copy(update={"draft": stamps}).write(self._folder)
                (place / out.name).replace(out)
        except (InputError, OSError) as error:  # the export will say the same, at the end
            note(f"{out} is not written before the end: {error}")
            self.out = None
            return
        note(f"{out} holds the best candidate so far: {quality}")
        self._written, self.seconds = genome, time.monotonic() - start
        self._next = time.monotonic() + _PAUSE * self.seconds


def is_draft(promise: Promise | None, out: Path) -> bool:
    """Return whether ``out`` is a draft of a run with this ``promise``."""
    if not promise or promise.out != str(out.absolute()) or out.is_symlink() or not out.is_file():
        return False
    return _stamp(out) in promise.draft


def _stamp(path: Path) -> list[int]:
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]
