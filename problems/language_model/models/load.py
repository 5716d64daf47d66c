"""Causal language models and their tokenizers, loaded with transformers, and their files of weights."""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from evoprune import InputError
from evoprune.problems.language_model.models.device import (
    out_of_memory,
    pick_device,
    pick_dtype,
    total_memory,
)
from evoprune.problems.language_model.models.hub import quiet, reason_and_remedy
from evoprune.problems.language_model.models.lazy_weights import LazyForward, set_execution_device, weight_of
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.models.model_file import Check, model_file
from evoprune.problems.language_model.models.settings import ModelSettings, is_model_file, model_fault, or_file
from evoprune.problems.language_model.models.weight_files import BUNDLED, stored_tensors, weight_files

MODEL_KEY, NAME = "problem.model", "pretrained_model_name_or_path"
_SHARE = 0.5  # of a GPU's memory, for a candidate's weights
_LISTED = 4  # faulty weights in an error
_JSON = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")
_NO_WEIGHTS = re.compile(r"(^|\.)(attn|attention)\.(masked_)?bias$|(inv_freq|version)$")  # constants in old files
_BLOCK_COUNTS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers"}  # keys of config.json


def load_model(settings: ModelSettings, check: Check | None = None) -> tuple[nn.Module, Any]:
    """Return the model, in evaluation mode on its device in its dtype, and the tokenizer.

    Quantised weights are dequantised. Missing and unused weights, and values that are not finite, are refused.
    """
    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    where, file = _where(settings), model_file(settings.model)
    with ExitStack() as stack:
        if file:
            where = {NAME: stack.enter_context(file.as_folder(settings, dtype, check))}
        tokenizer, config = _tokenizer_and_config(settings, where, check)
        options: Any = {"dtype": dtype, "output_loading_info": True, "ignore_mismatched_sizes": True}
        with loading_errors(settings):
            model, info = AutoModelForCausalLM.from_pretrained(  # never a pickle
                **where, config=config, use_safetensors=True, **options
            )
        if file:
            model.config._name_or_path = tokenizer.name_or_path = settings.model  # the folder is temporary
    if getattr(model, "is_quantized", False):
        raise InputError(f"'{settings.model}' is quantised: give a folder in 16 or 32 bits{or_file()}", MODEL_KEY)
    _check_complete(info, model, settings.model)
    for name, parameter in model.named_parameters():
        if not all(torch.isfinite(bound) for bound in parameter.aminmax()):  # a mask of all would take much memory
            raise InputError(f"'{settings.model}': {name} holds values that are not finite", MODEL_KEY)
    copies = device.type != "cpu" and streams(settings, model, device)
    try:
        convert(model, torch.device("cpu") if copies else device, dtype)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        large = f"'{settings.model}' in {str(dtype).removeprefix('torch.')} has no room on {device}"
        raise InputError(f"{large}; give another problem.dtype or device, or a smaller model", MODEL_KEY) from None
    model.eval().requires_grad_(False)
    if copies:
        set_execution_device(model, device)
    return model, tokenizer


def streams(settings: ModelSettings, model: Any, device: torch.device) -> bool:
    """Tell whether candidates' weights are made layer by layer, because all at once may not fit ``device``."""
    if settings.memory != "auto":
        return settings.memory == "stream"
    needed: int = sum(parameter.nbytes for parameter in model.parameters())
    if total := total_memory(device):  # not its free memory: its workers must agree
        return needed >= _SHARE * total
    return device.type == "cpu" and not Placement.of("the search", device, needed).resident


def _where(settings: ModelSettings) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained``."""
    if settings.model in BUNDLED:
        return {NAME: str(BUNDLED[settings.model])}
    if fault := model_fault(settings.model):
        raise InputError(fault, MODEL_KEY)
    return {
        NAME: settings.model,
        "revision": settings.revision or "main",
        "trust_remote_code": settings.trust_remote_code,
    }


@contextmanager
def loading_errors(settings: ModelSettings, file: str = "") -> Iterator[None]:
    """Convert the libraries' errors to one that names the model and the ``file`` that is read; hide their messages."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except Exception as error:  # the libraries raise many kinds of errors
        reason, remedy = reason_and_remedy(error)
        reason = reason.partition(" Should contain one of")[0]  # hundreds of names
        path = Path(settings.model)
        if file := _no_json_in(path) or (file if path.exists() else ""):
            why = f"'{path}': {file} cannot be read ({reason}); expected a model that save_pretrained wrote"
        else:
            remedy += f", or give a local folder{or_file()}, or run problems/gpt2_mini.yaml"
            why = f"'{path}' could not be loaded ({reason}); {remedy}"
        raise InputError(why, MODEL_KEY) from None


def _tokenizer_and_config(settings: ModelSettings, where: Mapping[str, Any], check: Check | None) -> tuple[Any, Any]:
    with loading_errors(settings):
        _check_block_count(settings)
        config = AutoConfig.from_pretrained(**where)
        tokenizer = read_tokenizer(settings, where)
    if check:
        check(tokenizer, config)
    return tokenizer, config


def read_tokenizer(settings: ModelSettings, where: Mapping[str, Any]) -> Any:
    """Return the tokenizer at ``where``, the arguments of ``from_pretrained``."""
    with loading_errors(settings, "its tokenizer" if is_model_file(settings.model) else "tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(**where)
        if not tokenizer.vocab_size:
            raise ValueError("it holds no tokens")
    return tokenizer


def _check_block_count(settings: ModelSettings) -> None:
    files = weight_files(settings)
    if not files or is_model_file(settings.model):  # not downloaded yet, or dequantised by us
        return
    config = json.loads((files[0].parent / "config.json").read_text(encoding="utf-8"))
    inner = [value for value in config.values() if isinstance(value, dict)]  # as text_config
    counts = [value for part in (config, *inner) for key, value in part.items() if key in _BLOCK_COUNTS]
    blocks = max((count for count in counts if isinstance(count, int)), default=0)
    refuse_blocks(settings.model, blocks, sum(len(stored_tensors(path)) for path in files))


def refuse_blocks(model: str, blocks: int, tensors: int) -> None:
    """Refuse more ``blocks`` than ``tensors``, which transformers would build for minutes, in all memory."""
    if blocks > tensors:
        raise InputError(f"'{model}' claims {blocks:,} blocks but holds {tensors:,} tensors", MODEL_KEY)


def _no_json_in(folder: Path) -> str:
    """Return the name of the first file of :data:`_JSON` in ``folder`` that is no JSON object; empty without one."""
    for path in (folder / name for name in _JSON):
        try:
            damaged = path.exists() and not isinstance(json.loads(path.read_bytes()), dict)
        except (OSError, ValueError, RecursionError):
            damaged = True
        if damaged:
            return path.name
    return ""


def _check_complete(info: Mapping[str, Any], model: nn.Module, name: str) -> None:
    """Refuse weights that ``from_pretrained`` initialised at random, and weights that it left out.

    ``info`` leaves out tied weights, but not all buffers and constants of old files.
    """
    faulty = sorted(info["missing_keys"])
    faulty += sorted(f"{key} {tuple(stored)} for {tuple(needed)}" for key, stored, needed in info["mismatched_keys"])
    if faulty:
        why = "lacks weights that its config.json requires, or has them in another shape"
        raise InputError(f"'{name}' {why}: {_listed(faulty)}; give a complete causal language model", MODEL_KEY)
    left_out = info["unexpected_keys"] - dict(model.named_buffers()).keys()
    if unused := sorted(key for key in left_out if not _NO_WEIGHTS.search(key)):
        why = f"holds weights that its config.json leaves out: {_listed(unused)}"
        raise InputError(f"'{name}' {why}; correct its number of layers, say, or delete these weights", MODEL_KEY)


def _listed(weights: Sequence[str]) -> str:
    more = f" and {len(weights) - _LISTED} more" if len(weights) > _LISTED else ""
    return ", ".join(weights[:_LISTED]) + more


def convert(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move ``model`` to ``device`` and ``dtype``, except the dtype of computed buffers, such as rotary frequencies."""
    loaded = model.state_dict().keys()
    computed = {name: buffer for name, buffer in model.named_buffers() if name not in loaded}
    if device.type == "cpu":
        converted = [parameter for parameter in model.parameters() if parameter.dtype != dtype]
        placement = Placement.of(
            "converting", device, sum(parameter.numel() for parameter in converted) * dtype.itemsize
        )
        for parameter in converted:
            parameter.data = placement.copied(parameter.data, dtype)
    model.to(device=device, dtype=dtype)
    for name, buffer in computed.items():
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, buffer.to(device))


_COPIED = 0.1  # share of the free memory for a copy of a model; a larger copy is mapped


def copy_of(model: nn.Module, dtype: torch.dtype) -> Any:
    """Return a copy of ``model`` in ``dtype``, in main memory or mapped."""
    taken = sum(map(torch.numel, model.parameters())) * dtype.itemsize
    placement = Placement.of("a copy", torch.device("cpu"), taken, share=_COPIED)
    parameters: dict[int, Any] = {
        id(parameter): nn.Parameter(placement.copied(parameter.detach(), dtype), requires_grad=False)
        for parameter in model.parameters()
    }
    copied: Any = copy.deepcopy(model, parameters)
    for module, twin in zip(model.modules(), copied.modules(), strict=True):
        lazy = vars(twin).pop("forward", None)
        if isinstance(lazy, LazyForward):
            for name in lazy.makers:
                getattr(twin, name).data.copy_(weight_of(module, name))
    convert(copied, torch.device("cpu"), dtype)
    return copied


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in ``folder``."""
    return read_tokenizer(ModelSettings(model=str(folder)), {NAME: folder})


def added_bos_token(tokenizer: Any) -> int | None:
    """Return the id of the token that ``tokenizer`` adds before a text, such as ``<s>``; None if it adds none."""
    text = "0"  # every vocabulary has tokens for it
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    usual = tokenizer(text, add_special_tokens=True)["input_ids"]
    return int(usual[0]) if usual and usual[: len(plain)] != plain else None
