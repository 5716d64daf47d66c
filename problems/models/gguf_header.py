"""What transformers leaves out of a .gguf file and llama.cpp computes by: scaled positions, and a first token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from evoprune import InputError

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
