"""Checkpoints of long computations: what they add up is written down now and then.

Used while an entry of the cache is made (:mod:`problems.calibration.tensor_cache`); the next process that makes the
same entry continues. The outcome is the same to the last bit.
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
from problems.models import tensor_file
from problems.models.tensor_file import Tensors

_EVERY, _SHARE = 30.0, 20.0
"""Seconds between two files, and at least so many times what the last one took."""

_made: ContextVar[tuple[str, str]] = ContextVar("made", default=("", ""))


@contextmanager
def making_entry(name: str, model: str) -> Iterator[None]:
    """While the kept result ``name`` is made of ``model``."""
    token = _made.set((name, model))
    try:
        yield
    finally:
        _made.reset(token)


class Checkpoint(AbstractContextManager["Checkpoint"]):
    """The steps of ``what`` that are :attr:`done`, of ``total``, and their :attr:`tensors` on the CPU.

    Both are those that an earlier process wrote down, if there are any. What is done is forgotten at its end.
    ``apart``: tells it from others that are called the same, and are made for the same result.
    """

    def __init__(self, what: str, total: int, apart: str = "") -> None:
        self._what, self._total = what, total
        self.done, self.tensors = 0, Tensors()
        name, self._model = _made.get()
        self._file = self._found(hashlib.sha256(f"{name} {what} {apart}".encode()).hexdigest()[:32]) if name else None
        self._at, self._pause = time.monotonic(), _EVERY

    def step(self, tensors: Tensors, count: int = 1) -> None:
        """``count`` more steps are done; ``tensors``: all that the next steps need."""
        self.done += count
        start = time.monotonic()
        if self._file is None or start - self._at < self._pause:
            return
        about = {"what": f"unfinished: {self._what}, {self.done} of {self._total}", "done": str(self.done)}
        try:
            if sum(tensor.nbytes for tensor in tensors.values()) <= cache_limit():
                whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
                self._file.make(partial(tensor_file.write_tensors, whole, about | {"model": self._model}))
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

    def _found(self, name: str) -> CachedFile | None:
        try:
            file = CachedFile(name)
        except OSError:
            return None
        if file.exists:
            try:
                self.tensors, about = tensor_file.read_tensors(file.path)
                self.done = int(about["done"])
            except (tensor_file.Damaged, KeyError, ValueError):
                file.discard()
                self.done, self.tensors = 0, {}
                return self._found(name)
        return file
