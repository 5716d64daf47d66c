"""Tensors in a file that says of itself what it is, and notices damage: it holds the hash of its tensors."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

_HASH = "sha256"
"""The entry of a file's metadata with the hash of its tensors."""


class Damaged(Exception):
    """A file is not as it was written."""


def sha256_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """The hash of ``tensors`` with their names, shapes and dtypes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise what safetensors says of a disk that is full, while it writes ``path``, as the OSError of others."""
    try:
        yield
    except SafetensorError as error:  # in which the system's error is a part of the text
        code = re.search(r"(?:code: |os error )(\d+)", str(error))
        number = int(code[1]) if code else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from None


def write_tensors(tensors: Tensors, about: Mapping[str, str], path: Path) -> None:
    """Write ``tensors`` to ``path``. Raises OSError or SafetensorError."""
    save_file(tensors, path, metadata={**about, _HASH: sha256_of(tensors)})


def read_tensors(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    """The tensors in ``path``, mapped on the CPU, and what it says of itself. Raises :class:`Damaged`."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is not a mapping
            about: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise Damaged(str(error)) from None
    if sha256_of(tensors) != about.get(_HASH):
        raise Damaged(f"{path} does not hold what was written")
    return tensors, about
