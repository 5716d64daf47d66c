"""Models in .gguf files: their header, and their dequantised weights in the cache."""

import gc
import hashlib
import inspect
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import InputError, __version__
from evoprune.plugins import first_line
from evoprune.problems.language_model.gguf.reader import Tensor, read_as_package, read_gguf
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.device import release_memory
from evoprune.problems.language_model.models.load import (
    MODEL_KEY,
    NAME,
    loading_errors,
    read_tokenizer,
    refuse_blocks,
)
from evoprune.problems.language_model.models.model_file import Check
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.tensor_file import Tensors, open_cached, write_tensors

_WEIGHTS, _TEXTS = "model.safetensors", {".json", ".txt", ".jinja"}
_PART = 2**25  # weights that are dequantised at a time, unless a block has more
_FACTORS = "rope_freqs.weight"
_LLAMA3 = {  # the same in Llama 3.1 to 3.3; a file holds only the factors that follow from it
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
_BOS_ADDED = {"llama3", "llama-v3", "llama-bpe", "tekken"}  # tokenizers to which llama.cpp adds BOS by default
_MIXTURES = ("qwen3moe",)  # architectures whose experts are read
_BIASES = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}  # keys of configs, and tensors

Write = Callable[[Path], None]

Save = Callable[[Path, Callable[[Tensors], None]], None]
"""Writes a model's config and tokenizer to a folder, and calls a function with its weights, some blocks at a time."""


def fits_disk(path: Path, dtype: torch.dtype) -> bool:
    """Tell whether the disk has space to dequantise the model, which is written twice.

    It may be larger than the limit of the cache: then it is deleted once it is mapped.
    """
    weights = sum(tensor.size for tensor in Header(path).tensors.values())
    return 2 * weights * dtype.itemsize < shutil.disk_usage(cache_folder()).free


@contextmanager
def as_folder(path: Path, settings: ModelSettings, dtype: torch.dtype, check: Check | None) -> Iterator[Path]:
    """As :meth:`ModelFile.as_folder`: the weights are dequantised, and in the cache, if there is one.

    The whole model is never in memory. Without a cache the weights are in the folder itself.
    """
    save = partial(_save, settings, dtype, check)
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        try:
            file, content = open_cached(_cache_name(path, dtype))
            stack.callback(file.release)
            if not content:
                if not fits_disk(path, dtype):
                    raise OSError("no room on the disk")
                _dequantise(path, save, folder, file.path, file.make)
            (folder / _WEIGHTS).symlink_to(file.path)
        except (OSError, SafetensorError):  # of a full disk, for example
            content, weights = None, folder / _WEIGHTS
            try:
                _dequantise(path, save, folder, weights, lambda write: write(weights))
            except (OSError, SafetensorError) as error:
                reason = f"no disk has room for its weights ({error}); set EVOPRUNE_CACHE to a folder with room"
                raise InputError(f"{path}: {reason}", MODEL_KEY) from None
        for name, text in content[1].items() if content else ():
            if Path(name).suffix in _TEXTS:
                (folder / name).write_text(text, encoding="utf-8")
        yield folder


@contextmanager
def _reading(settings: ModelSettings, part: Mapping[str, slice] | None = None) -> Iterator[None]:
    """Let transformers read the file of ``settings``; ``part``: see :func:`read_as_package`."""
    with loading_errors(settings):
        try:
            with read_as_package(part):
                yield
        except ImportError as error:
            why = f"GGUF files need more packages; pip install 'evoprune[gguf]' ({first_line(error)})"
            raise InputError(why, MODEL_KEY) from None


def _save(
    settings: ModelSettings, dtype: torch.dtype, check: Check | None, folder: Path, keep: Callable[[Tensors], None]
) -> None:
    path = Path(settings.model).absolute()  # a name alone would be looked for in the working directory, too
    where: dict[str, Any] = {NAME: str(path.parent), "gguf_file": str(path)}
    with _reading(settings):
        header = Header(Path(settings.model))
        refuse_blocks(settings.model, header.block_count, len(header.tensors))
        config = AutoConfig.from_pretrained(**where)
        if config.model_type == "gpt2":  # transformers reads the sizes, and does not use them
            config.n_positions, config.n_inner = config.n_ctx, config.feed_forward_length
        tokenizer = read_tokenizer(settings, where)
        header.complete(config, tokenizer)
    if check:
        check(tokenizer, config)
    with _reading(settings):
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config)
        empty.config.architectures = [type(empty).__name__]
        empty.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def dequantised(part: Mapping[str, slice]) -> Tensors:
        with _reading(settings, part):
            read = load_gguf_checkpoint(where["gguf_file"], return_tensors=True, model_to_load=empty)["tensors"]
        return {name: tensor.to(dtype).contiguous() for name, tensor in read.items()}

    gc.freeze()  # so that collections skip all objects up to here
    for part in header.parts():
        keep(dequantised(part))
        release_memory(torch.device("cpu"))  # transformers leaves the tensors in a reference cycle
    gc.unfreeze()


def _dequantise(path: Path, save: Save, folder: Path, place: Path, make: Callable[[Write], None]) -> None:
    """Write config and tokenizer of the model in ``path`` to ``folder``, and all of it, by ``make``, to ``place``."""
    parts: list[Path] = []

    def keep(tensors: Tensors) -> None:
        parts.append(place.with_suffix(f".{len(parts)}"))  # deleted with it, if this process is killed
        save_file(tensors, parts[-1])

    save(folder, keep)
    texts = {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.suffix in _TEXTS}
    about = {"what": "dequantised model", "model": path.name} | texts
    make(lambda place: write_tensors(_whole(parts), about, place))
    for part in parts:
        part.unlink()


def _whole(parts: list[Path]) -> Tensors:
    """Return the tensors in ``parts``, mapped; rows of one tensor in several parts are joined in a new part."""
    rows: dict[str, list[torch.Tensor]] = {}
    for part in tuple(parts):
        for name, tensor in load_file(part).items():
            rows.setdefault(name, []).append(tensor)
    whole = {name: pieces[0] for name, pieces in rows.items()}
    for name, pieces in rows.items():
        if len(pieces) > 1:
            parts.append(parts[0].with_suffix(f".{len(parts)}"))
            size = sum(map(torch.numel, pieces))
            joined = torch.from_file(str(parts[-1]), shared=True, size=size, dtype=pieces[0].dtype)
            whole[name] = torch.cat(pieces, out=joined.view(-1, *pieces[0].shape[1:]))
    return whole


def _cache_name(path: Path, dtype: torch.dtype) -> str:
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    code = inspect.getsource(sys.modules[__name__])  # another version may read more of the file
    what = ["dequantised model", digest, dtype, __version__, transformers.__version__, code]
    return hashlib.sha256(repr(what).encode()).hexdigest()[:32]


class Header:
    """The metadata and the list of tensors of the .gguf file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = read_gguf(path)
        except InputError as error:
            raise InputError(str(error), MODEL_KEY) from None
        if self._file.value(".expert_count", 0) and self._file.value("general.architecture") not in _MIXTURES:
            why = f"experts are read from .gguf files of {', '.join(_MIXTURES)} alone; give the model's folder"
            raise InputError(f"{path}: {why}", MODEL_KEY)

        numbers = ((name, name.split(".")[1]) for name in self._file.tensors if name.startswith("blk."))
        if beyond := next((name for name, number in numbers if int(number) >= self.block_count), None):
            why = f"its block_count is {self.block_count}, but it holds {beyond}; convert the model again"
            raise InputError(f"{path}: {why}", MODEL_KEY)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return self._file.tensors

    def parts(self) -> Iterator[Mapping[str, slice]]:
        """Yield the rows of tensors to read at a time: all rows of a block, some of a large table."""
        part: dict[str, slice] = {}
        size = 0
        for _, block in groupby(self._file.tensors.items(), lambda tensor: tensor[0].split(".")[:2]):
            tensors = dict(block)
            more = sum(tensor.size for tensor in tensors.values())
            if size + more > _PART and part:
                yield part
                part, size = {}, 0
            if more > _PART and len(tensors) == 1:
                ((name, table),) = tensors.items()
                step = max(1, _PART * table.shape[0] // table.size)
                yield from ({name: slice(first, first + step)} for first in range(0, table.shape[0], step))
            else:
                part |= dict.fromkeys(tensors, slice(None))
                size += more
        if part:
            yield part

    @property
    def block_count(self) -> int:
        return int(self._file.value(".block_count", 0))

    def complete(self, config: Any, tokenizer: Any) -> None:
        """Add the biases and scaled positions that transformers ignores to ``config``, and BOS to the tokenizer."""
        value = self._file.value
        for key, bias in _BIASES.items():
            if bias in self._file.tensors and hasattr(config, key):
                setattr(config, key, True)
        if channels := value(".expert_feed_forward_length"):
            config.moe_intermediate_size = int(channels)
        if value("tokenizer.ggml.pre") in _BOS_ADDED and value("tokenizer.ggml.add_bos_token") is None:
            tokenizer.add_bos_token = True
        kind = value(".rope.scaling.type", "none")
        if kind == "linear":
            rope = config.rope_parameters  # Gemma 3 has one for each kind of attention, and scales one
            factor = float(value(".rope.scaling.factor"))
            rope.get("full_attention", rope).update(rope_type="linear", factor=factor)
        tensors = {name: tensor for name, tensor in self._file.tensors.items() if name.startswith("rope_f")}
        if kind not in {"none", "linear"} or tensors.keys() - {_FACTORS}:
            raise self._unknown_scaling()
        for tensor in tensors.values():
            factors = torch.from_numpy(tensor.data.view(np.float32)[0].copy())
            plain = config.rope_parameters["rope_theta"] ** -(torch.arange(len(factors)) / len(factors))
            config.rope_parameters |= _LLAMA3 | {"factor": float(factors.max())}
            scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
            if scaled.shape != plain.shape or not torch.allclose(scaled, plain / factors, rtol=1e-3):
                raise self._unknown_scaling()

    def _unknown_scaling(self) -> InputError:
        return InputError(
            f"{self._path}: its positions are scaled in a way that is not read from .gguf files; give the model's "
            "folder instead",
            MODEL_KEY,
        )
