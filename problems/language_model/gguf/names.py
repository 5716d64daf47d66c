"""The names, shapes and order of rows that the parameters of a transformers model have in a .gguf file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
from numpy.typing import NDArray
from torch import nn
from transformers.pytorch_utils import Conv1D

from evoprune import InputError
from evoprune.problems.language_model.gguf.forms import SAME, Floats, Form, Order, gathered, turned
from evoprune.problems.language_model.models.blocks import find_blocks, has_matrices

LLAMA, GPTNEOX = "llama", "gptneox"
BLOCK = "blk."  # prefix of the tensors of blocks

ROUTER, EXPERTS = "ffn_gate_inp.weight", "ffn_down_exps.weight"  # within a block: a mixture's
_HALVES = {"gate_up_proj": ("gate_proj", "up_proj")}  # parameters of experts that are two tensors of a file


@dataclass(frozen=True)
class Slot:
    """One tensor of a file. ``shape``: rows first.

    ``parameter``: its name in transformers; None for a tensor that holds ``fill`` everywhere. ``transposed``: whether
    transformers has it ``(in, out)``. ``typed``: whether it is a matrix whose type can be chosen. ``half``: 0 or 1, for
    the first or second half of the rows of each expert.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str | None
    transposed: bool = False
    typed: bool = True
    form: Form = SAME
    fill: float = 0.0
    half: int | None = None

    def of_shape(self, shape: tuple[int, ...]) -> Slot:
        """The same of a parameter of another ``shape``."""
        if self.half is not None:
            shape = (shape[0], shape[1] // 2, shape[2])
        return replace(self, shape=tuple(reversed(shape)) if self.transposed else shape)

    def rows(self, weight: torch.Tensor) -> Floats:
        """``weight``, the parameter, as the file holds it, in float32."""
        return self.form.written(self.some_rows(weight, slice(None)))

    def some_rows(self, weight: torch.Tensor, places: Any) -> Floats:
        """The rows of ``weight`` at ``places``, in transformers' order and form, in float32."""
        rows = (weight.T if self.transposed else weight).detach()
        rows = rows if self.half is None else rows.chunk(2, 1)[self.half]
        return rows[places].to("cpu", torch.float32).numpy()

    def encoded_rows(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rows of this tensor among the parameter's, ``(rows, bytes of a row)``."""
        if self.half is None:
            return data
        halves = data.reshape(self.shape[0], 2, self.shape[1], data.shape[1])
        return np.ascontiguousarray(halves[:, self.half]).reshape(-1, data.shape[1])

    def holds(self, rows: Floats, weight: torch.Tensor) -> bool:
        """Tell whether transformers reads ``rows`` of the file as ``weight``."""
        loaded = torch.from_numpy(self.form.loaded(rows)).to(weight.dtype)
        return torch.equal(loaded.T if self.transposed else loaded, weight.detach().cpu())


def head_size(model: Any) -> int:
    """The width of a head."""
    config = model.config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def hidden_size(model: Any) -> int:
    """The width of the hidden states."""
    return int(model.config.get_text_config().hidden_size)


def within_block(name: str) -> str:
    """The name of a tensor within its block."""
    return name.split(".", 2)[2] if name.startswith(BLOCK) else name


def find_slots(model: Any, architecture: str, forms: Mapping[str, Form] | None = None) -> list[Slot]:
    """The tensor of each parameter of ``model`` now; blocks without matrices are left out, the rest numbered.

    ``forms``: by names :func:`within_block`; None for the usual ones of the architecture.
    """
    architectures = {name: key for key, name in MODEL_ARCH_NAMES.items()}
    if architecture not in architectures:
        raise InputError(f"the architecture '{architecture}' is not one that the package gguf knows", "problem.model")
    prefix, blocks = find_blocks(model)
    old = [str(number) for number, block in enumerate(blocks) if has_matrices(block)]
    names = get_tensor_name_map(architectures[architecture], len(old))
    forms = _usual_forms(model, architecture) if forms is None else forms
    numbers = {number: new for new, number in enumerate(old)}
    return list(_slots(model, architecture, f"{prefix}.", numbers, names, forms))


def slots_by_parameter(model: Any, architecture: str, forms: Mapping[str, Form] | None) -> dict[str, list[Slot]]:
    """As :func:`find_slots`, by the name of the parameter."""
    slots: dict[str, list[Slot]] = {}
    for slot in find_slots(model, architecture, forms):
        slots.setdefault(str(slot.parameter), []).append(slot)
    return slots


def _usual_forms(model: Any, architecture: str) -> dict[str, Form]:
    size = head_size(model)
    orders: dict[str, Order] = {}
    if architecture == LLAMA:
        orders = dict.fromkeys(("attn_q", "attn_k"), partial(turned, size=size))
    elif architecture == GPTNEOX:
        orders = {"attn_qkv": partial(gathered, size=size, queries=1)}
    return {f"{name}.{kind}": Form(order) for name, order in orders.items() for kind in ("weight", "bias")}


def _slots(
    model: Any, architecture: str, prefix: str, numbers: dict[str, int], names: Any, forms: Mapping[str, Form]
) -> Iterator[Slot]:
    tokens = model.get_input_embeddings()
    for parameter, weight in model.named_parameters():
        module, _, kind = parameter.rpartition(".")
        renumbered = module
        if module.startswith(prefix):
            number, _, rest = module.removeprefix(prefix).partition(".")
            if number not in numbers:
                continue  # a norm that the sublayers of a dropped block shared
            renumbered = f"{prefix}{numbers[number]}.{rest}"
        layer: Any = model.get_submodule(module)
        transposed = isinstance(layer, Conv1D) and weight.dim() == 2
        typed = weight.dim() == 2 and (layer is tokens or not isinstance(layer, nn.Embedding))
        plain = Slot(parameter, (), parameter, transposed, typed).of_shape(tuple(weight.shape))
        for slot in (
            _halves(plain, layer, renumbered) if weight.dim() > 2 else [replace(plain, name=f"{renumbered}.{kind}")]
        ):
            place, _, kind = slot.name.rpartition(".")
            if (name := names.get_name(place)) is None:
                raise InputError(
                    f"{parameter} has no place in .gguf files of the architecture {architecture}: this model cannot "
                    "be written as one yet; export it to a folder",
                    "problem.model",
                )
            name = f"{name}.{kind}"
            within = within_block(name)
            yield replace(slot, name=name, typed=typed and within != ROUTER, form=forms.get(within, SAME))


def _halves(slot: Slot, experts: Any, module: str) -> Iterator[Slot]:
    """``slot``, of stacked ``experts``, as one or two tensors, named as parameters in ``module``."""
    kind = slot.name.rpartition(".")[2]
    if experts.is_transposed or experts.has_bias or not experts.is_concatenated:
        yield slot  # which has no place
    elif kind in _HALVES:
        for half, name in enumerate(_HALVES[kind]):
            yield replace(slot, name=f"{module}.{name}.weight", half=half).of_shape(slot.shape)
    else:
        yield replace(slot, name=f"{module}.{kind}.weight")
