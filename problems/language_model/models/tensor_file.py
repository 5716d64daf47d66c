"""Reads and writes .safetensors files whose metadata holds a description and the hash of the tensors."""

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from evoprune import InputError
from evoprune.plugins import atomically
from evoprune.problems.language_model.models.cache import CachedFile

Tensors = dict[str, torch.Tensor]

_HASH = "sha256"  # the entry of the metadata


def sha256_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash ``tensors`` with their names, shapes and dtypes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Let safetensors and tokenizers write ``path``, a file or folder, with OSErrors and the usual file modes."""
    try:
        yield
    except Exception as error:  # the libraries' own, whose texts contain the system's error
        code = re.search(r"(?:code: |os error )(\d+)", str(error))
        if not (code or isinstance(error, SafetensorError)):
            raise
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from None
    os.umask(umask := os.umask(0))
    for file in path.glob("*.safetensors") if path.is_dir() else [path]:
        file.chmod(0o666 & ~umask)  # it is 0600


def replace_file(path: Path, tensors: Tensors, about: Mapping[str, str] = MappingProxyType({})) -> None:
    """Replace ``path`` by ``tensors`` atomically. Raises OSError."""
    with atomically(path, alone=True) as part, saving(part):
        write_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, about, part)


def open_cached(name: str) -> tuple[CachedFile, tuple[Tensors, Mapping[str, str]] | None]:
    """Return the cached file ``name`` and its content, if any; a damaged file is deleted. Raises OSError."""
    while (file := CachedFile(name)).exists:
        try:
            return file, read_tensors(file.path)
        except InputError:
            file.discard()
    return file, None


def write_tensors(tensors: Tensors, about: Mapping[str, str], path: Path) -> None:
    """Write ``tensors`` to ``path``. Raises OSError or SafetensorError."""
    save_file(tensors, path, metadata={**about, _HASH: sha256_of(tensors)})


def read_tensors(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    """Return the tensors in ``path``, mapped on the CPU, and its metadata.

    Raises :class:`evoprune.InputError` for a damaged file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is not a mapping
            about: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None
    if sha256_of(tensors) != about.get(_HASH):
        raise InputError("cannot be read: its content does not match its hash", str(path))
    return tensors, about
