"""Tensors that are cached on disk by a hash of all that they depend on, and checkpoints of their computation."""

import functools
import hashlib
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Self

import torch
import transformers
from safetensors import SafetensorError

import evoprune.problems.language_model.calibration as calibration
import evoprune.problems.language_model.models as models
from evoprune import InputError, __version__
from evoprune.plugins import note
from evoprune.problems.language_model.models.cache import CachedFile, cache_limit
from evoprune.problems.language_model.models.device import rounding
from evoprune.problems.language_model.models.lazy_weights import execution_device
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.tensor_file import (
    Tensors,
    open_cached,
    read_tensors,
    write_tensors,
)

__all__ = ["Tensors", "cached", "code"]

_INTERVAL, _TIMES = 30.0, 20.0  # seconds between two checkpoints, and at least so many times the last one's writing
_IRRELEVANT = {"_name_or_path", "transformers_version"}  # entries of a config that change no result

_entry: ContextVar[tuple[str, str]] = ContextVar("entry", default=("", ""))
"""The name and the model of the cache entry that is computed now; checkpoints belong to it."""


class Checkpoint:
    """A computation of ``total`` steps that can be resumed: the steps :attr:`done`, and their :attr:`tensors`.

    It starts from the checkpoint of an interrupted process, with tensors on the CPU, and is deleted at the end.
    ``label`` names the computation. Outside of :func:`cached` nothing is written.
    """

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total
        self.done, self.tensors = 0, Tensors()
        name, self._model = _entry.get()
        self._file = None
        if name:
            with suppress(OSError):
                self._file, begun = open_cached(hashlib.sha256(f"{name} {label}".encode()).hexdigest()[:32])
                if begun:
                    self.tensors, self.done = begun[0], int(begun[1]["done"])
        self._at, self._pause = time.monotonic(), _INTERVAL

    def __enter__(self) -> Self:
        if self.done:
            note(f"{self._label}: {self.done} of {self._total} were done before and are used again")
        return self

    def step(self, tensors: Tensors, count: int = 1) -> None:
        """Count ``count`` more steps; ``tensors``: the state that the next steps need."""
        self.done += count
        start = time.monotonic()
        if self._file is None or start - self._at < self._pause:
            return
        label = f"unfinished: {self._label}, {self.done} of {self._total}"
        about = {"what": label, "done": str(self.done), "model": self._model}
        try:
            if sum(tensor.nbytes for tensor in tensors.values()) <= cache_limit():
                whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
                self._file.make(partial(write_tensors, whole, about))
        except (OSError, SafetensorError):  # the disk is full
            self._file.discard()
            self._file = None
        self._at = time.monotonic()
        self._pause = max(_INTERVAL, _TIMES * (self._at - start))

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._file is not None:
            (self._file.release if error else self._file.discard)()


def cached(
    resident: Resident, label: str, inputs: Sequence[object], build: Callable[[], Tensors],
    device: torch.device | None = None, pinned: bool = True,
) -> Tensors:  # fmt: skip
    """Return the tensors that ``build`` computes from ``resident``, or that it computed before.

    ``label`` describes them to people. ``inputs``: all that they depend on, but for the loaded model, the processor,
    versions of libraries, and the code of models and calibration; for other code, :func:`code`. ``device``: where the
    tensors are, by default that of ``resident``; on the CPU they are mapped and read-only. A ``pinned`` file, of any
    size, is shared by all processes on this host and stays while their residents live; another one is written within
    the limit of the cache, and may be deleted after the call.
    """
    device = device or resident.device
    name = hashlib.sha256(repr([label, *inputs, *_environment(resident)]).encode()).hexdigest()[:32]
    try:
        file, content = open_cached(name)
    except OSError as error:
        _warn(str(error))
        return build()
    about, token = {"what": label, "model": resident.source}, _entry.set((name, resident.source))
    try:
        tensors = _on(device, content[0]) if content else _make(file, about, build, device, pinned)
    except BaseException:
        file.release()
        raise
    finally:
        _entry.reset(token)
    if pinned and file.exists:
        weakref.finalize(resident, file.release)
    else:
        file.release()
    return tensors


@functools.cache
def code(*packages: ModuleType) -> str:
    """Hash all Python files of ``packages``."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _environment(resident: Resident) -> list[object]:
    """Return the part of a key that all entries share: versions, code, rounding, the model and its config."""
    config = resident.model.config.to_dict()
    return [
        *(__version__, transformers.__version__, code(models, calibration)),
        *rounding(execution_device(resident.model)),
        *(type(resident.model).__name__, resident.weights_sha256),
        sorted((key, str(value)) for key, value in config.items() if key not in _IRRELEVANT),
    ]


def _make(
    file: CachedFile, about: dict[str, str], build: Callable[[], Tensors], device: torch.device, pinned: bool
) -> Tensors:
    """Build the tensors and write them to ``file`` if possible, within the cache's limit unless it is ``pinned``."""
    tensors = build()
    if not pinned and sum(tensor.nbytes for tensor in tensors.values()) > cache_limit():
        return tensors
    try:
        file.make(partial(write_tensors, tensors, about))
        return _on(device, read_tensors(file.path)[0]) if pinned and device.type == "cpu" else tensors
    except (OSError, SafetensorError, InputError) as error:  # safetensors raises its own if the disk is full
        _warn(str(error))
        return tensors


def _on(device: torch.device, tensors: Tensors) -> Tensors:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@functools.cache  # one message
def _warn(reason: str) -> None:
    note(f"evoprune: nothing is kept for later runs ({reason}); set EVOPRUNE_CACHE to a folder that can be written")
