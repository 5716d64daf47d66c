"""The names, shapes and order of rows that the parameters of a transformers model have in a .gguf file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from numpy.typing import NDArray
from transformers.pytorch_utils import Conv1D

from evoprune import InputError
from problems.models.blocks import find_blocks, prunable

LLAMA = "llama"

_TURNED = ("attn_q", "attn_k")
"""Tensors of Llama models whose rows have another order in files: llama.cpp rotates neighbours, transformers halves."""


@dataclass(frozen=True)
class Slot:
    """One tensor of a file. ``shape``: rows first.

    ``parameter``: its name in transformers; None for a tensor that holds ``fill`` everywhere. ``transposed``: whether
    transformers has it ``(in, out)``. ``heads``: how many heads its rows belong to, where these are reordered; else 0.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str | None
    transposed: bool = False
    heads: int = 0
    fill: float = 0.0

    def rows(self, weight: torch.Tensor) -> NDArray[np.float32]:
        """``weight``, the parameter, as the file holds it, in float32."""
        rows = weight.detach().to("cpu", torch.float32)
        return self.ordered((rows.T if self.transposed else rows).numpy())

    def ordered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """``rows``, of weights or of bytes, from the order of transformers to that of the file."""
        if not self.heads:
            return rows
        halves = rows.reshape(self.heads, 2, -1, *rows.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def head_size(model: Any) -> int:
    """The width of a head."""
    config = model.config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def hidden_size(model: Any) -> int:
    """The width of the hidden states."""
    return int(model.config.get_text_config().hidden_size)


def find_slots(model: Any, architecture: str) -> list[Slot]:
    """The tensor of each parameter of ``model`` now; blocks without matrices are left out, the rest numbered."""
    architectures = {name: key for key, name in MODEL_ARCH_NAMES.items()}
    if architecture not in architectures:
        raise InputError(f"the architecture '{architecture}' is not one that the package gguf knows", "problem.model")
    prefix, blocks = find_blocks(model)
    left = [number for number, block in enumerate(blocks) if any(True for _ in prunable(block))]
    known = get_tensor_name_map(architectures[architecture], len(left))
    return list(_slots(model, architecture, f"{prefix}.", {str(old): new for new, old in enumerate(left)}, known))


def _slots(model: Any, architecture: str, prefix: str, left: dict[str, int], known: Any) -> Iterator[Slot]:
    for parameter, weight in model.named_parameters():
        module, _, kind = parameter.rpartition(".")
        own = module
        if module.startswith(prefix):
            number, _, rest = module.removeprefix(prefix).partition(".")
            if number not in left:
                continue  # a norm that the sublayers of a dropped block shared
            own = f"{prefix}{left[number]}.{rest}"
        name = known.get_name(own)
        if name is None:
            raise InputError(
                f"{parameter} has no place in .gguf files of the architecture {architecture}: this model cannot be "
                "written as one yet; export it to a folder",
                "problem.model",
            )
        transposed = isinstance(model.get_submodule(module), Conv1D) and weight.dim() == 2
        shape = tuple(reversed(weight.shape)) if transposed else tuple(weight.shape)
        turned = architecture == LLAMA and name.endswith(_TURNED)
        heads = shape[0] // head_size(model) if turned else 0
        yield Slot(f"{name}.{kind}", shape, parameter, transposed, heads)
