"""Fingerprints of functions and classes: hashes of their code and of the values they hold, equal in all processes.

Code is bytecode: that of one lambda in a line of several, without comments, and as it was when it was imported.
Code of libraries is described by its name, and globals are not followed.
"""

import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import CellType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy

_PLAIN = {NoneType, EllipsisType, bool, int, float, complex}
_DEEPEST = 50  # levels of nested values
_HELD: dict[type, Sequence[str]] = {
    CellType: ["cell_contents"],
    MethodType: ["__func__", "__self__"],
    ModuleType: ["__name__"],
    property: ["fget"],
    staticmethod: ["__func__"],
    classmethod: ["__func__"],
    cached_property: ["func"],
    **dict.fromkeys([random.Random, numpy.random.Generator, numpy.random.RandomState, numpy.random.BitGenerator], ()),
}
"""Attributes that describe objects, by their class: none of random numbers, which are noise in any state."""


_before: dict[bytes, bytes] = {}
"""By the hash of an object, the one that it had before the searches of this process: see :func:`unchanged_by_calls`."""


def fingerprint(value: Any, name: str) -> dict[str, str]:
    """Return hashes of the code and values of a function, callable object or class, by descriptions with ``name``."""
    objects = _Objects()
    hashes = {f"values of {name}": objects.hash(value).hex()[:16]}
    if objects.code:
        minor = f"Python {sys.version_info.major}.{sys.version_info.minor}"  # on which the bytecode depends
        hashes[f"code of {name}"] = f"{_sha(objects.code).hex()[:16]} in {minor}"
    return hashes


@contextmanager
def unchanged_by_calls(functions: Sequence[Any]) -> Iterator[None]:
    """Keep the fingerprints of ``functions`` if their calls, until the context ends, count or store something."""
    before, after = _Objects(), _Objects()
    before.hash(functions)
    try:
        yield
    finally:
        after.hash(functions)
        for ident, (_, now) in after.known.items():
            if ident in before.known:  # which keeps its objects alive, so the same one
                _before[now] = before.known[ident][1]


def is_library(module: str | None) -> bool:
    """Return whether ``module`` belongs to Python, evoprune or an installed package."""
    folders = Path(getattr(sys.modules.get(module or ""), "__file__", None) or "").parts
    top = (module or "").partition(".")[0]
    return top in {"evoprune", *sys.stdlib_module_names} or not {"site-packages", "dist-packages"}.isdisjoint(folders)


class _Objects:
    """Hashes of objects, in ``known`` by their ids, and the ``code`` that was met among them."""

    def __init__(self) -> None:
        self.code: list[bytes] = []
        self.known: dict[int, tuple[Any, bytes]] = {}

    def hash(self, value: Any, depth: int = 0) -> bytes:
        kind = type(value)
        if kind in _PLAIN:
            return _sha([kind.__name__.encode(), (hex(value) if kind is int else repr(value)).encode()])
        if kind in {str, bytes}:
            return _sha([kind.__name__.encode(), value.encode(errors="surrogatepass") if kind is str else value])
        if id(value) not in self.known:
            self.known[id(value)] = value, b""  # of a cycle
            parts = [kind.__qualname__.encode()]
            try:
                parts += [self.hash(part, depth + 1) for part in self._parts(value)] if depth < _DEEPEST else []
            except Exception:  # of an object that cannot be described, such as an open file
                parts.append(b"unknown")
            found = _sha(parts)
            self.known[id(value)] = value, _before.get(found, found)
        return self.known[id(value)][1]

    def _parts(self, value: Any) -> Iterable[Any]:
        """The parts that describe ``value``."""
        kind = type(value)
        if kind in {list, tuple}:
            return value  # type: ignore[no-any-return]
        if kind is dict:
            return value.items()  # type: ignore[no-any-return]
        if isinstance(value, (set, frozenset)):
            return sorted(map(self.hash, value))
        named = [getattr(value, "__module__", ""), getattr(value, "__qualname__", "")]
        if isinstance(value, type):
            bases = [base for base in value.__mro__ if not is_library(base.__module__)]
            members = sorted((name, place) for place, base in enumerate(bases) for name in vars(base))
            found = [(name, vars(bases[place])[name]) for name, place in members]
            return [*(named[1:] if bases else named), *(member for member in found if _is_content(*member))]
        if isinstance(value, FunctionType):
            if not is_library(value.__module__):
                self.code.append(self._code(value.__code__))
                named = []
            return [*named, value.__defaults__, value.__kwdefaults__, value.__closure__]
        for holder, attributes in _HELD.items():
            if isinstance(value, holder):
                return [getattr(value, attribute) for attribute in attributes]
        if hasattr(value, "__wrapped__"):  # by a compiler or a cache
            return [value.__wrapped__]
        reduced = value.__reduce_ex__(4)  # as pickle describes it: a name, or parts
        if isinstance(reduced, str):
            return [*named, reduced]
        return [list(part) if isinstance(part, Iterator) else part for part in reduced]

    def _code(self, code: CodeType) -> bytes:
        inner = [self._code(part) if isinstance(part, CodeType) else self.hash(part) for part in code.co_consts]
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
        return _sha([code.co_code, code.co_exceptiontable, repr((names, counts)).encode(), *inner])


def _is_content(name: str, member: Any) -> bool:
    """Return whether a member of a class is a method or a constant; other objects in it may change as they are used."""
    if isinstance(member, (FunctionType, *_HELD)):
        return True
    return not name.startswith("__") and type(member) in _PLAIN | {str, bytes, tuple}


def _sha(parts: Sequence[bytes]) -> bytes:
    """The hash of ``parts``, and of where each begins."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.digest()
