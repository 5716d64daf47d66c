"""Causal language models and their tokenizers, loaded with transformers, and their files of weights."""

import copy
import gc
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from functools import partial
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.utils import logging

from evoprune import InputError
from evoprune.problems.language_model.models.attention import NAME as BLOCKED_ATTENTION
from evoprune.problems.language_model.models.attention import use_fast_attention
from evoprune.problems.language_model.models.device import (
    out_of_memory,
    pick_device,
    pick_dtype,
    release_memory,
)
from evoprune.problems.language_model.models.gguf_source import Header, as_folder
from evoprune.problems.language_model.models.late import Late, run_on, weight_of
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.settings import ModelSettings, model_fault
from evoprune.problems.language_model.models.tensor_file import Tensors
from evoprune.problems.language_model.models.weight_files import BUNDLED, read_as_package, stored_tensors, weight_files

_KEY = "problem.model"
_SHARE = 0.5  # of a GPU's memory, for a candidate's weights
_NAMED = 4  # faulty weights in an error
_JSON = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")  # objects
_NO_WEIGHTS = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$|(inv_freq|version)$")  # constants in old files
_BLOCK_COUNTS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers"}  # keys of config.json


Check = Callable[[Any, Any], object]
"""Raises :class:`evoprune.InputError` by a model's tokenizer and config, before its weights are read."""


def load_model(settings: ModelSettings, check: Check | None = None) -> tuple[nn.Module, Any]:
    """Return the model, in evaluation mode on its device in its dtype, and the tokenizer.

    GGUF weights are dequantised. Missing and unused weights, and values that are not finite, are refused.
    """
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    where = _where(settings)
    if "gguf_file" in where:
        with as_folder(Path(settings.model), dtype, partial(_save, settings, where, dtype, check)) as folder:
            place = {"pretrained_model_name_or_path": folder} if folder else where
            model, tokenizer = _read(settings, place, dtype, check)
            model.config._name_or_path = tokenizer.name_or_path = settings.model  # the folder is temporary
    else:
        model, tokenizer = _read(settings, where, dtype, check)
    for name, parameter in model.named_parameters():
        if not all(torch.isfinite(bound) for bound in parameter.aminmax()):  # a mask of all would take much memory
            raise InputError(f"'{settings.model}': {name} holds values that are not finite", _KEY)
    copies = device.type == "cuda" and streams(settings, model, device)
    try:
        convert(model, torch.device("cpu") if copies else device, dtype)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise InputError(
            f"'{settings.model}' in {str(dtype).removeprefix('torch.')} has no room on {device}; give another "
            "problem.dtype or problem.device, or a smaller model",
            _KEY,
        ) from None
    model.eval().requires_grad_(False)
    if copies:
        run_on(model, device)
    use_fast_attention(model, dtype)
    return model, tokenizer


def streams(settings: ModelSettings, model: Any, device: torch.device) -> bool:
    """Tell whether candidates' weights are made layer by layer: all of them may not fit ``device``."""
    if settings.memory != "auto":
        return settings.memory == "stream"
    needed: int = sum(parameter.nbytes for parameter in model.parameters())
    if device.type == "cuda":  # not its free memory: its workers must agree
        return needed >= _SHARE * float(torch.cuda.get_device_properties(device).total_memory)
    return device.type == "cpu" and not Room.of("the search", device, needed).resident


def _where(settings: ModelSettings) -> dict[str, Any]:
    if settings.model in BUNDLED:
        return {"pretrained_model_name_or_path": str(BUNDLED[settings.model])}
    if fault := model_fault(settings.model):
        raise InputError(fault, _KEY)
    path = Path(settings.model)
    if path.suffix == ".gguf":
        path = path.absolute()  # a name alone would be looked for in the working directory, too
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": str(path)}
    return {
        "pretrained_model_name_or_path": settings.model,
        "revision": settings.revision or "main",
        "trust_remote_code": settings.trust_remote_code,
    }


def _read(
    settings: ModelSettings, where: Mapping[str, Any], dtype: torch.dtype, check: Check | None
) -> tuple[Any, Any]:
    tokenizer, config = _tokenizer_and_config(settings, where, check)
    is_gguf = "gguf_file" in where
    with _told(settings):
        model, info = AutoModelForCausalLM.from_pretrained(
            **where,
            config=config,
            dtype=torch.float32 if is_gguf else dtype,  # dequantised weights are rounded once, later
            use_safetensors=None if is_gguf else True,  # never a pickle
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    _check_complete(info, model, settings.model)
    return _plain(model, settings) if getattr(model, "is_quantized", False) else model, tokenizer


@contextmanager
def _told(settings: ModelSettings, file: str = "", part: Mapping[str, slice] | None = None) -> Iterator[None]:
    """Word the libraries' errors for people, and hide their messages; ``part`` as for :func:`read_as_package`.

    ``file``: the one that is read.
    """
    try:
        with quiet(), read_as_package(part) if settings.model.endswith(".gguf") else nullcontext():
            yield
    except InputError:
        raise
    except Exception as error:  # the libraries raise many kinds of errors
        raise InputError(_cannot_load(settings, error, file), _KEY) from None


def _tokenizer_and_config(settings: ModelSettings, where: Mapping[str, Any], check: Check | None) -> tuple[Any, Any]:
    with _told(settings):
        header = Header(Path(settings.model)) if "gguf_file" in where else None
        _check_block_count(settings, header)
        config, tokenizer = _config(where), _tokenizer(settings, where)
        if header:
            header.complete(config, tokenizer)
    if check:
        check(tokenizer, config)
    return tokenizer, config


def _tokenizer(settings: ModelSettings, where: Mapping[str, Any]) -> Any:
    with _told(settings, "its tokenizer" if settings.model.endswith(".gguf") else "tokenizer.json"):
        found = AutoTokenizer.from_pretrained(**where)
        if not found.vocab_size:
            raise ValueError("it holds no tokens")
    return found


def _save(
    settings: ModelSettings, where: Mapping[str, Any], dtype: torch.dtype, check: Check | None, folder: Path,
    keep: Callable[[Tensors], None],
) -> None:  # fmt: skip
    tokenizer, config = _tokenizer_and_config(settings, where, check)
    with _told(settings):
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(config)
        empty.config.architectures = [type(empty).__name__]
        empty.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    def dequantised(part: Mapping[str, slice]) -> Tensors:
        with _told(settings, part=part):
            found = load_gguf_checkpoint(where["gguf_file"], return_tensors=True, model_to_load=empty)["tensors"]
        return {name: tensor.to(dtype).contiguous() for name, tensor in found.items()}

    gc.freeze()  # what is there already is not looked at again
    for part in Header(Path(settings.model)).parts():
        keep(dequantised(part))
        release_memory(torch.device("cpu"))  # transformers leaves the tensors in a circle
    gc.unfreeze()


def _check_block_count(settings: ModelSettings, header: Header | None) -> None:
    """Refuse more blocks than tensors, for which transformers would take minutes and all memory."""
    if header:
        blocks, tensors = header.block_count, header.tensors
    else:
        files = weight_files(settings)
        if not files or settings.model.endswith(".gguf"):  # not downloaded yet, or dequantised by us
            return
        config = json.loads((files[0].parent / "config.json").read_text(encoding="utf-8"))
        inner = [value for value in config.values() if isinstance(value, dict)]  # as text_config
        counts = [value for part in (config, *inner) for key, value in part.items() if key in _BLOCK_COUNTS]
        blocks = max((count for count in counts if isinstance(count, int)), default=0)
        tensors = sum(len(stored_tensors(path)) for path in files)
    if blocks > tensors:
        raise InputError(f"'{settings.model}' claims {blocks:,} blocks but holds {tensors:,} tensors", _KEY)


def _config(where: Mapping[str, Any]) -> Any:
    config = AutoConfig.from_pretrained(**where)
    if "gguf_file" in where and config.model_type == "gpt2":  # transformers reads these sizes, and does not use them
        config.n_positions, config.n_inner = config.n_ctx, config.feed_forward_length
    return config


def _cannot_load(settings: ModelSettings, error: Exception, file: str) -> str:
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    reason = reason.partition(" Should contain one of")[0]  # hundreds of names
    if isinstance(error, ImportError) and settings.model.endswith(".gguf"):
        return f"GGUF files need more packages; pip install 'evoprune[gguf]' ({reason})"
    if file := _no_json_in(Path(settings.model)) or (file if Path(settings.model).exists() else ""):
        return f"'{settings.model}': {file} cannot be read ({reason}); expected a model that save_pretrained wrote"
    return (
        f"'{settings.model}' could not be loaded ({reason}); give a local folder or .gguf file, "
        "fill the hub's cache on a machine with network, or run problems/gpt2_mini.yaml"
    )


def _no_json_in(folder: Path) -> str:
    """Return the name of a file in ``folder`` that should hold a JSON object and does not; empty if there is none."""
    for path in (folder / name for name in _JSON):
        try:
            damaged = path.exists() and not isinstance(json.loads(path.read_bytes()), dict)
        except (OSError, ValueError, RecursionError):
            damaged = True
        if damaged:
            return path.name
    return ""


def _check_complete(info: Mapping[str, Any], model: nn.Module, name: str) -> None:
    """Refuse weights that ``from_pretrained`` filled with random numbers, and weights that it left out.

    ``info`` names no tied weights and few constants of old files, and buffers are computed.
    """
    faulty = sorted(info["missing_keys"])
    faulty += sorted(f"{key} {tuple(given)} for {tuple(wanted)}" for key, given, wanted in info["mismatched_keys"])
    if faulty:
        raise InputError(
            f"'{name}' lacks weights that its config.json requires, or has them in another shape: {_named(faulty)}; "
            "give a complete checkpoint of a causal language model",
            _KEY,
        )
    left_out = info["unexpected_keys"] - dict(model.named_buffers()).keys()
    if unused := sorted(key for key in left_out if not _NO_WEIGHTS.search(key)):
        raise InputError(
            f"'{name}' holds weights that its config.json leaves out: {_named(unused)}; correct config.json, such as "
            "its number of layers, or delete these weights",
            _KEY,
        )


def _named(weights: Sequence[str]) -> str:
    more = f" and {len(weights) - _NAMED} more" if len(weights) > _NAMED else ""
    return ", ".join(weights[:_NAMED]) + more


def _plain(quantized: Any, settings: ModelSettings) -> Any:
    """Return the same weights in a model without quantisation marks, which would prevent saving it."""
    config = AutoConfig.for_model(quantized.config.model_type).from_dict(quantized.config.to_dict())
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):  # no second copy of the weights, and no random ones
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    weights = {name: tensor.detach().to(torch.float32) for name, tensor in quantized.state_dict().items()}
    if any(not torch.is_floating_point(tensor) or type(tensor) is not torch.Tensor for tensor in weights.values()):
        raise InputError(f"'{settings.model}' is quantised in a format that evoprune cannot dequantise", _KEY)
    model.load_state_dict(weights, assign=True)
    model.tie_weights()
    for name, buffer in quantized.named_buffers():
        _put_buffer(model, name, buffer)
    model.generation_config = quantized.generation_config
    return model


def convert(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move ``model`` to ``device`` and ``dtype``, but keep the dtype of computed buffers, as of rotary frequencies."""
    loaded = model.state_dict().keys()
    computed = {name: buffer for name, buffer in model.named_buffers() if name not in loaded}
    if device.type == "cpu":
        others = [each for each in model.parameters() if each.dtype != dtype]
        room = Room.of("converting", device, sum(each.numel() for each in others) * dtype.itemsize)
        for parameter in others:
            parameter.data = room.copied(parameter.data, dtype)
    model.to(device=device, dtype=dtype)
    for name, buffer in computed.items():
        _put_buffer(model, name, buffer.to(device))


def _put_buffer(model: nn.Module, name: str, buffer: torch.Tensor) -> None:
    owner, _, own_name = name.rpartition(".")
    setattr(model.get_submodule(owner), own_name, buffer)


def copy_of(model: nn.Module, dtype: torch.dtype) -> Any:
    """Return a copy in ``dtype`` in main memory or mapped, with an attention that transformers knows."""
    room = Room.of("a copy", torch.device("cpu"), sum(each.numel() for each in model.parameters()) * dtype.itemsize)
    parameters: dict[int, Any] = {
        id(parameter): nn.Parameter(room.copied(parameter.detach(), dtype), requires_grad=False)
        for parameter in model.parameters()
    }
    copied: Any = copy.deepcopy(model, parameters)
    for module, own in zip(model.modules(), copied.modules(), strict=True):
        late = vars(own).pop("forward", None)
        if isinstance(late, Late):
            for name in late.makes:
                getattr(own, name).data.copy_(weight_of(module, name))
    convert(copied, torch.device("cpu"), dtype)
    if copied.config._attn_implementation == BLOCKED_ATTENTION:
        copied.set_attn_implementation("sdpa")
    return copied


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in ``folder``."""
    return _tokenizer(ModelSettings(model=str(folder)), {"pretrained_model_name_or_path": folder})


def added_bos_token(tokenizer: Any) -> int | None:
    """Return the id of the token that ``tokenizer`` itself adds before a text, such as ``<s>``; else None."""
    text = "0"  # every vocabulary has tokens for it
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    usual = tokenizer(text, add_special_tokens=True)["input_ids"]
    return int(usual[0]) if usual and usual[: len(plain)] != plain else None


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the libraries' progress bars, hints and retries; errors are still raised."""
    verbosity, hub = logging.get_verbosity(), getLogger("huggingface_hub")
    level = hub.level
    logging.set_verbosity_error()
    hub.setLevel(ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
        hub.setLevel(level)
