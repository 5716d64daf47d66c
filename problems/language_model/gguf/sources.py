"""Models whose .gguf files can be written, recognised by the headers of their files. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.plugins import read_json
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.models.weight_files import BUNDLED

READABLE = ("falcon", "gemma2", "gemma3", "gpt2", "llama", "phi3", "qwen2", "qwen3", "qwen3moe", "stablelm")
"""llama.cpp's architectures whose .gguf files are read, and written again."""

RAGGED = "llama"  # the only architecture whose blocks may differ in width in llama.cpp, as its architecture deci
_MIXED = ("gemma2", "gemma3")  # attentions of two kinds in a fixed order: no block can be left out

BLOCKS, ONE_WIDTH, ONE_WIDTH_IN_ALL = "blocks of any width", "blocks of one width", "all blocks, of one width"
"""The models that llama.cpp runs."""

ARCHITECTURES = {
    "gpt2": "gpt2", "llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "olmo2": "olmo2",
    "gpt_neox": "gptneox", "stablelm": "stablelm", "qwen3_moe": "qwen3moe",
}  # fmt: skip
"""llama.cpp's architecture of each model type of transformers whose metadata is made here."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_WORDS % "{1,3}": "dbrx", _WORDS % "": "qwen2"}
"""llama.cpp's names of the patterns by which texts are split before pairs of bytes are merged."""

_WHOLE_WORDS = "llama-bpe"  # the pattern of dbrx, for tokenizers that look for whole words first


def cuts_of(model: str, base: str | None) -> str:
    """Return :data:`BLOCKS`, :data:`ONE_WIDTH` or :data:`ONE_WIDTH_IN_ALL`, the models that llama.cpp runs.

    ``model``, ``base``: see :func:`architecture_of`.
    """
    architecture = architecture_of(model, base)
    if architecture in (RAGGED, None):
        return BLOCKS
    return ONE_WIDTH_IN_ALL if architecture in _MIXED else ONE_WIDTH


def architecture_of(model: str, base: str | None) -> str | None:
    """Return llama.cpp's architecture of the .gguf file that ``model`` becomes; None if it is on the hub only.

    ``base``: a given .gguf file. Raises :class:`evoprune.InputError` for a model that cannot become one.
    """
    folder = BUNDLED.get(model) or Path(model).expanduser()
    config, is_file = folder / "config.json", folder.suffix == ".gguf"
    if is_file or base is not None:
        architecture = str(read_gguf(folder if is_file else Path(str(base))).value("general.architecture"))
        if is_file and architecture not in READABLE:
            why = f"files of the architecture {architecture} are not read, only of {', '.join(READABLE)}"
            raise InputError(f"{why}: give the model's folder, and this file with --base", model)
        return architecture
    if config.is_file():
        kind, tokenizer = read_json(config).get("model_type"), folder / "tokenizer.json"
        if kind not in ARCHITECTURES or (tokenizer.is_file() and pre_tokenizer(read_json(tokenizer)) is None):
            raise needs_base(model, f"{kind} with another one" if kind in ARCHITECTURES else f"not for {kind}")
        return ARCHITECTURES[kind]
    return None


def needs_base(model: str, reason: str) -> InputError:
    """Return the error for a model whose metadata cannot be made, with the ``reason``."""
    return InputError(
        f"tokenizer and metadata are made for {', '.join(ARCHITECTURES)} with byte-level tokenizers, {reason}: give "
        "another .gguf file of it with --base (llama.cpp's convert_hf_to_gguf.py makes one, if llama.cpp has such "
        "models)",
        model,
    )


def pre_tokenizer(tokenizer_json: Mapping[str, Any]) -> str | None:
    """Return llama.cpp's name of the pre-tokenizer in ``tokenizer_json``; None for an unknown one."""
    normal, split = tokenizer_json.get("normalizer") or {}, tokenizer_json.get("pre_tokenizer") or {}
    if tokenizer_json["model"]["type"] != "BPE" or normal.get("type", "NFC") != "NFC":
        return None
    steps = split["pretokenizers"] if split.get("type") == "Sequence" else [split]
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    if last.get("use_regex", True):
        digits = [step.get("type") == "Digits" and step.get("individual_digits") for step in before]
        return "gpt-2" if not before else "smollm" if digits == [True] else None
    pattern = before[0].get("pattern", {}).get("Regex") if len(before) == 1 else None
    name = _SPLITS.get(str(pattern))
    return _WHOLE_WORDS if name == "dbrx" and tokenizer_json["model"].get("ignore_merges") else name
