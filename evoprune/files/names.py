"""Names of files and folders, for what other people see."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


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
