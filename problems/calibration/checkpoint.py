"""Checkpoints of long computations whose results are cached: sums so far, written down now and then.

The next process that makes the same cache entry (:mod:`problems.calibration.tensor_cache`) continues, and gets the same
bits.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Self

from safetensors import SafetensorError

from evoprune import CachedFile, cache_limit, note
from problems.models.tensor_file import Damaged, Tensors, read_tensors, write_tensors

_EVERY, _SHARE = 30.0, 20.0  # seconds between two files, and at least so many times what the last one took

_entry: ContextVar[tuple[str, str]] = ContextVar("entry", default=("", ""))


@contextmanager
def making_entry(name: str, model: str) -> Iterator[None]:
    """Let checkpoints belong to the cache entry ``name``, which is made of ``model``."""
    token = _entry.set((name, model))
    try:
        yield
    finally:
        _entry.reset(token)


class Checkpoint(AbstractContextManager["Checkpoint"]):
    """The number of steps of ``what`` that are :attr:`done`, of ``total``, and their :attr:`tensors` on the CPU.

    It begins with those of an interrupted process, if there is one, and is deleted at its end. ``apart`` distinguishes
    it from others of the same name and entry. Outside an entry nothing is written.
    """

    def __init__(self, what: str, total: int, apart: str = "") -> None:
        self._what, self._total = what, total
        self.done, self.tensors = 0, Tensors()
        name, self._model = _entry.get()
        self._file = self._find(hashlib.sha256(f"{name} {what} {apart}".encode()).hexdigest()[:32]) if name else None
        self._at, self._pause = time.monotonic(), _EVERY

    def step(self, tensors: Tensors, count: int = 1) -> None:
        """Count ``count`` more steps; ``tensors``: all that the next steps need."""
        self.done += count
        start = time.monotonic()
        if self._file is None or start - self._at < self._pause:
            return
        what = f"unfinished: {self._what}, {self.done} of {self._total}"
        about = {"what": what, "done": str(self.done), "model": self._model}
        try:
            if sum(tensor.nbytes for tensor in tensors.values()) <= cache_limit():
                whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
                self._file.make(partial(write_tensors, whole, about))
        except (OSError, SafetensorError):  # the disk is full
            self._file.discard()
            self._file = None
        self._at = time.monotonic()
        self._pause = max(_EVERY, _SHARE * (self._at - start))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            (self._file.release if kind else self._file.discard)()

    def __enter__(self) -> Self:
        if self.done:
            note(f"{self._what}: {self.done} of {self._total} were done before and are used again")
        return self

    def _find(self, name: str) -> CachedFile | None:
        try:
            file = CachedFile(name)
        except OSError:
            return None
        if file.exists:
            try:
                tensors, about = read_tensors(file.path)
                self.done, self.tensors = int(about["done"]), tensors
            except (Damaged, KeyError, ValueError):
                file.discard()
                return self._find(name)
        return file
