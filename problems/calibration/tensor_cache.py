"""Tensors in the cache, found by a hash of all that they depend on.

A damaged file is computed again. If none can be written, nothing is cached.
"""

from __future__ import annotations

import functools
import hashlib
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
import transformers
from safetensors import SafetensorError

from evoprune import CachedFile, __version__, cache_limit, note
from problems import calibration, models
from problems.calibration.checkpoint import making_entry
from problems.models.device import rounding
from problems.models.resident import Resident
from problems.models.tensor_file import Damaged, Tensors, read_tensors, write_tensors

__all__ = ["Tensors", "cached", "code", "shared"]

_NO_MATTER = {"_name_or_path", "transformers_version"}  # entries of a config that change no result


def cached(resident: Resident, label: str, what: Sequence[object], build: Callable[[], Tensors]) -> Tensors:
    """Return the tensors that ``build`` makes of ``resident``, on its device; ``label`` describes them to people.

    ``what``: all that they depend on besides the loaded model, the processor, versions of libraries, and the code of
    models and calibration; of other code, its :func:`code`.
    """
    return _cached(resident, label, what, build, resident.device, in_use=False)


def shared(
    resident: Resident,
    label: str,
    what: Sequence[object],
    build: Callable[[], Tensors],
    device: torch.device | None = None,
) -> Tensors:
    """As :func:`cached`, shared by all processes on this host: the file, of any size, stays while their residents live.

    On ``device``, by default the resident's. On the CPU they map the file, and the tensors are read-only.
    """
    return _cached(resident, label, what, build, device or resident.device, in_use=True)


@functools.cache
def code(*packages: ModuleType) -> str:
    """Hash all Python files of ``packages``."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _cached(
    resident: Resident,
    label: str,
    what: Sequence[object],
    build: Callable[[], Tensors],
    device: torch.device,
    in_use: bool,
) -> Tensors:
    name = hashlib.sha256(repr([label, *what, *_always(resident)]).encode()).hexdigest()[:32]
    try:
        file = CachedFile(name)
    except OSError as error:
        _tell(str(error))
        return build()
    about = {"what": label, "model": resident.source}
    try:
        with making_entry(name, resident.source):
            tensors = _read(file.path, device) if file.exists else _make(file, about, build, device, in_use)
    except Damaged:
        file.discard()
        return _cached(resident, label, what, build, device, in_use)
    except BaseException:
        file.release()
        raise
    if in_use and file.exists:
        weakref.finalize(resident, file.release)
    else:
        file.release()
    return tensors


def _always(resident: Resident) -> list[object]:
    config = resident.model.config.to_dict()
    return [
        *(__version__, transformers.__version__, code(models, calibration)),
        *rounding(resident.device),
        *(type(resident.model).__name__, resident.weights_sha256),
        sorted((key, str(value)) for key, value in config.items() if key not in _NO_MATTER),
    ]


def _make(
    file: CachedFile, about: dict[str, str], build: Callable[[], Tensors], device: torch.device, in_use: bool
) -> Tensors:
    """Build the tensors and write them to ``file`` if possible; those not in use must be within the cache's limit."""
    tensors = build()
    if not in_use and sum(tensor.nbytes for tensor in tensors.values()) > cache_limit():
        return tensors
    try:
        file.make(partial(write_tensors, tensors, about))
        return _read(file.path, device) if in_use and device.type == "cpu" else tensors
    except (OSError, SafetensorError, Damaged) as error:  # safetensors raises its own if the disk is full
        _tell(str(error))
        return tensors


def _read(path: Path, device: torch.device) -> Tensors:
    return {name: tensor.to(device) for name, tensor in read_tensors(path)[0].items()}


@functools.cache  # so that it is said once
def _tell(reason: str) -> None:
    note(f"evoprune: nothing is kept for later runs ({reason}); set EVOPRUNE_CACHE to a folder that can be written")
