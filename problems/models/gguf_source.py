"""Models in .gguf files: dequantised once and cached, completed by header entries that transformers ignores."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import CachedFile, InputError, __version__, cache_limit
from problems.models.tensor_file import Damaged, read_tensors, write_tensors

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
        _, about = read_tensors(file.path)
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
        file.make(partial(write_tensors, load_file(folder / _WEIGHTS), about))
    except (OSError, SafetensorError):  # a full disk
        return False
    return True


def _is_text(name: str) -> bool:
    return Path(name).suffix in {".json", ".txt", ".jinja"}


def _name(path: Path, dtype: torch.dtype) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    code = inspect.getsource(sys.modules[__name__])  # another version may read more of the file
    what = ["dequantised model", digest, dtype, __version__, transformers.__version__, code]
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


_FACTORS = "rope_freqs.weight"

_LLAMA3 = {
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
"""The same in all of Llama 3.1 to 3.3; a file holds what follows from it, with a factor."""

_BEGIN = {"llama3", "llama-v3", "llama-bpe", "tekken"}
"""Kinds of tokenizers that llama.cpp lets begin a text with a token where the file says nothing of it."""


def complete(path: Path, config: Any, tokenizer: Any) -> None:
    """Put what the header of ``path`` says into ``config`` and ``tokenizer``, which transformers read from it.

    Raises :class:`evoprune.InputError` for positions that are scaled in a way that is not known here.
    """
    from gguf import GGUFReader  # an extra

    reader = GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if ".rope." in name or ".ggml." in name}
    if fields.get("tokenizer.ggml.pre") in _BEGIN and "tokenizer.ggml.add_bos_token" not in fields:
        tokenizer.add_bos_token = True
    kind = next((value for name, value in fields.items() if name.endswith(".rope.scaling.type")), "none")
    if kind == "linear":
        factor = next(value for name, value in fields.items() if name.endswith(".rope.scaling.factor"))
        known = config.rope_parameters  # of Gemma 3 those of both kinds of attention, one of which is scaled
        known.get("full_attention", known).update(rope_type="linear", factor=float(factor))
    tensors = [tensor for tensor in reader.tensors if tensor.name.startswith("rope_f")]
    if kind not in {"none", "linear"} or [tensor.name for tensor in tensors] not in ([], [_FACTORS]):
        raise _unknown(path)
    for tensor in tensors:
        factors = torch.from_numpy(tensor.data.copy())
        plain = config.rope_parameters["rope_theta"] ** -(torch.arange(len(factors)) / len(factors))
        config.rope_parameters |= _LLAMA3 | {"factor": float(factors.max())}
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
        if scaled.shape != plain.shape or not torch.allclose(scaled, plain / factors, rtol=1e-3):
            raise _unknown(path)


def _unknown(path: Path) -> InputError:
    return InputError(
        f"{path}: its positions are scaled in a way that is not read from .gguf files; give the model's folder instead",
        "problem.model",
    )
