"""A .gguf file as a folder that transformers reads fast: dequantised once, and kept for later runs."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file

from evoprune import CachedFile, __version__, cache_limit
from problems.models import gguf_header
from problems.models.tensor_file import Damaged, read, write

_WEIGHTS = "model.safetensors"

_GROWTH = 8
"""How many times as large as its file a model may become: from 4 bits a weight to 32."""

Save = Callable[[Path], None]
"""Writes a model and its tokenizer into a folder as ``save_pretrained`` does, the weights into one file."""


@contextmanager
def as_folder(path: Path, dtype: torch.dtype, save: Save) -> Iterator[Path | None]:
    """A folder with the model in the .gguf file ``path``, its weights in ``dtype``, and its tokenizer.

    ``save`` is called where it is not kept yet. None where it cannot be kept: the cache has no room, or no folder.
    """
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        yield Path(scratch) if _filled(Path(scratch), path, dtype, save, stack) else None


def _filled(folder: Path, path: Path, dtype: torch.dtype, save: Save, stack: ExitStack) -> bool:
    """Put the model into ``folder``, for as long as ``stack`` lives; whether that was possible."""
    try:
        if _GROWTH * path.stat().st_size > cache_limit():
            return False
        file = CachedFile(_name(path, dtype))
    except OSError:
        return False
    if not file.exists:
        stack.callback(file.release)
        save(folder)
        return _packed(folder, file, path.name)
    try:
        _, about = read(file.path)
    except Damaged:
        file.discard()
        return _filled(folder, path, dtype, save, stack)
    stack.callback(file.release)
    (folder / _WEIGHTS).symlink_to(file.path)
    for name, text in about.items():
        if _is_text(name):
            (folder / name).write_text(text, encoding="utf-8")
    return True


def _packed(folder: Path, file: CachedFile, model: str) -> bool:
    """Keep the model in ``folder`` as ``file``: its other files, which are texts, are entries of the metadata."""
    texts = {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name != _WEIGHTS}
    about = {"what": "dequantised model", "model": model} | {
        name: text for name, text in texts.items() if _is_text(name)
    }
    try:
        file.make(partial(write, load_file(folder / _WEIGHTS), about))
    except (OSError, SafetensorError):  # a full disk
        return False
    return True


def _is_text(name: str) -> bool:
    return Path(name).suffix in {".json", ".txt", ".jinja"}


def _name(path: Path, dtype: torch.dtype) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    read = inspect.getsource(gguf_header)  # another version may read more of the file
    what = ["dequantised model", digest, dtype, __version__, transformers.__version__, read]
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]
