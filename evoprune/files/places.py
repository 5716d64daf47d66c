"""Paths of results: made whole or not at all, and named for other people."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def part_of(out: Path) -> Iterator[Path]:
    """Yield a new folder beside ``out`` to make it in; at the end it is deleted, and new parents that are empty.

    Deletes the folders that killed processes left, too. Raises OSError where it cannot be made.
    """
    for path in out.parent.iterdir() if out.parent.is_dir() else ():
        found = re.fullmatch(rf"\.{re.escape(out.name)}\.(\d+)\.part", path.name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)
    new = [path for path in out.parents if not path.exists()]
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for path in new:
            with suppress(OSError):  # it was not made, or holds something by now
                path.rmdir()


def _is_running(pid: int) -> bool:
    """Return whether another process has this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return pid != os.getpid()  # in a container, ours may be that of a killed process


def distinct(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the name of each absolute path, with as many folders above as tell it from others of the same name."""
    parts = {path: path.parts[1:] for path in paths}
    names = {}
    for path, own in parts.items():
        others = [each for each in parts.values() if each != own]
        count = next((n for n in range(1, len(own)) if all(each[-n:] != own[-n:] for each in others)), len(own))
        names[path] = "/".join(own[-count:])
    return names


def without_folders(value: Any) -> Any:
    """Return ``value``, of JSON, with ``./NAME`` in place of each absolute path."""
    names = distinct(path for text in _texts(value) if (path := Path(text)).is_absolute() and "\n" not in text)

    def named(inner: Any) -> Any:
        if isinstance(inner, Mapping):
            return {key: named(each) for key, each in inner.items()}
        if isinstance(inner, list | tuple):
            return [named(each) for each in inner]
        return f"./{names[Path(inner)]}" if isinstance(inner, str) and Path(inner) in names else inner

    return named(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)
