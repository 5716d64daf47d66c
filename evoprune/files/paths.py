"""Paths of results: staging folders, and names without the folders of this machine."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from evoprune.console.errors import InputError, cut_repr


def path_of(value: Any, argument: str) -> Path:
    """Return ``value`` as a path. Raises :class:`InputError` of ``argument`` where no file can have it."""
    try:
        path = Path(value)
        if not str(value):  # it would be the working directory
            raise ValueError
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
    except (TypeError, ValueError):  # of another type; with a NUL, or half of a character
        raise InputError(f"expected a path, got {cut_repr(value)}", argument) from None
    except OSError as error:  # a name that is too long
        raise InputError(f"expected a path, got '{path}': {error.strerror}", argument) from None
    return path


@contextmanager
def staging_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder next to ``out``, to write it in; delete it at the end, with new parents that are empty.

    Deletes the staging folders of killed processes. Raises OSError if the folder cannot be created.
    """
    for path in out.parent.iterdir() if out.parent.is_dir() else ():
        match = re.fullmatch(rf"\.{re.escape(out.name)}\.(\d+)\.part", path.name)
        if match and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)
    new = [path for path in out.parents if not path.exists()]
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for path in new:
            with suppress(OSError):  # it does not exist, or is not empty
                path.rmdir()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return pid != os.getpid()  # in a container, ours may be that of a killed process


def distinct_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the name of each absolute path, with as many parent folders as make it unique."""
    parts = {path: path.parts[1:] for path in paths}
    names = {}
    for path, steps in parts.items():
        others = [other for other in parts.values() if other != steps]
        sizes = (size for size in range(1, len(steps)) if all(other[-size:] != steps[-size:] for other in others))
        names[path] = "/".join(steps[-next(sizes, len(steps)) :])
    return names


def without_folders(value: Any) -> Any:
    """Return ``value``, of JSON types, with ``./NAME`` in place of each absolute path."""
    texts: set[str] = set()
    _with_texts(value, texts.add)
    names = distinct_names(Path(text) for text in texts if Path(text).is_absolute() and "\n" not in text)
    return _with_texts(value, lambda text: f"./{names[Path(text)]}" if Path(text) in names else text)


def _with_texts(value: Any, change: Callable[[str], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_texts(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value
