"""Models in .gguf files: their header, and the dequantised model in the cache."""

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

from evoprune import InputError, __version__, cache_limit
from problems.models.tensor_file import open_cached, write_tensors

_WEIGHTS = "model.safetensors"
_GROWTH = 8  # the largest model is so many times as large as its file: from 4 bits a weight to 32
_FACTORS = "rope_freqs.weight"
_LLAMA3 = {  # the same in all of Llama 3.1 to 3.3; a file holds only the factors that follow from it
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
_BOS_ADDED = {"llama3", "llama-v3", "llama-bpe", "tekken"}  # tokenizers for which llama.cpp adds the token by default

Save = Callable[[Path], None]
"""Writes a model and its tokenizer into a folder as ``save_pretrained`` does, the weights into one file."""


@contextmanager
def as_folder(path: Path, dtype: torch.dtype, save: Save) -> Iterator[Path | None]:
    """A folder with the model in the .gguf file ``path``, its weights in ``dtype``, and its tokenizer.

    ``save`` is called if the model is not in the cache yet. None if it cannot be cached.
    """
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        try:
            if _GROWTH * path.stat().st_size > cache_limit():
                raise OSError("no room in the cache")
            file, found = open_cached(_cache_name(path, dtype))
            stack.callback(file.release)
            if not found:
                save(folder)
                texts = {each.name: each.read_text("utf-8") for each in folder.iterdir() if _is_text(each.name)}
                about = {"what": "dequantised model", "model": path.name} | texts
                file.make(partial(write_tensors, load_file(folder / _WEIGHTS), about))
        except (OSError, SafetensorError):  # of a full disk, for example
            yield None
            return
        if found:
            (folder / _WEIGHTS).symlink_to(file.path)
            for name, text in found[1].items():
                if _is_text(name):
                    (folder / name).write_text(text, encoding="utf-8")
        yield folder


def _is_text(name: str) -> bool:
    return Path(name).suffix in {".json", ".txt", ".jinja"}


def _cache_name(path: Path, dtype: torch.dtype) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    code = inspect.getsource(sys.modules[__name__])  # another version may read more of the file
    what = ["dequantised model", digest, dtype, __version__, transformers.__version__, code]
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


class Header:
    """The metadata and the list of tensors of the .gguf file ``path``."""

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader  # an extra

        self._path = path
        self._reader = GGUFReader(path)

    @property
    def tensors(self) -> list[tuple[str, int]]:
        return [(tensor.tensor_type.name, int(tensor.n_elements)) for tensor in self._reader.tensors]

    @property
    def block_count(self) -> int:
        return int(self._value(".block_count", 0))

    def _value(self, ending: str, default: Any = None) -> Any:
        fields = self._reader.fields.items()
        return next((field.contents() for name, field in fields if name.endswith(ending)), default)

    def complete(self, config: Any, tokenizer: Any) -> None:
        """Add to ``config`` and ``tokenizer`` what transformers ignores: scaled positions, and a token before texts."""
        if self._value("tokenizer.ggml.pre") in _BOS_ADDED and self._value("tokenizer.ggml.add_bos_token") is None:
            tokenizer.add_bos_token = True
        kind = self._value(".rope.scaling.type", "none")
        if kind == "linear":
            known = config.rope_parameters  # Gemma 3 has one for each kind of attention, and scales one
            factor = float(self._value(".rope.scaling.factor"))
            known.get("full_attention", known).update(rope_type="linear", factor=factor)
        tensors = [tensor for tensor in self._reader.tensors if tensor.name.startswith("rope_f")]
        if kind not in {"none", "linear"} or [tensor.name for tensor in tensors] not in ([], [_FACTORS]):
            raise self._unknown_scaling()
        for tensor in tensors:
            factors = torch.from_numpy(tensor.data.copy())
            plain = config.rope_parameters["rope_theta"] ** -(torch.arange(len(factors)) / len(factors))
            config.rope_parameters |= _LLAMA3 | {"factor": float(factors.max())}
            scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
            if scaled.shape != plain.shape or not torch.allclose(scaled, plain / factors, rtol=1e-3):
                raise self._unknown_scaling()

    def _unknown_scaling(self) -> InputError:
        return InputError(
            f"{self._path}: its positions are scaled in a way that is not read from .gguf files; give the model's "
            "folder instead",
            "problem.model",
        )
