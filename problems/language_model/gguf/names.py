"""Names, shapes and conversions of the parameters of a transformers model in a .gguf file.

Converters add 1 to the norms of some architectures, and reorder the rows of some matrices. The conversions are
learned by comparing block 0 of a file with the loaded model, so that no table of architectures is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Floats
from evoprune.problems.language_model.gguf.reader import Tensor
from evoprune.problems.language_model.models.blocks import find_blocks, has_matrices

LLAMA, GPTNEOX = "llama", "gptneox"
BLOCK = "blk."  # prefix of the tensors of blocks

ROUTER, EXPERTS = "ffn_gate_inp.weight", "ffn_down_exps.weight"  # tensors of a mixture, within a block
_HALVES = {"gate_up_proj": ("gate_proj", "up_proj")}  # parameters of experts that are two tensors in a file

Order = Callable[[int], NDArray[np.intp]]
"""Returns, for a number of rows, the index in transformers of each row of a file."""

_SAMPLE = 256  # rows that are compared, at most
_DISTANCES = {1: 0.1, 2: 0.5}
"""The largest distance of equal tensors, by dimensions: relative; 1 - cosine, 0.1 for types of 2 bits."""


@dataclass(frozen=True)
class Conversion:
    """The ``order`` of the rows in a file, None for that of transformers, and a constant ``added`` to all values."""

    order: Order | None = None
    added: float = 0.0

    def ordered(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Reorder ``rows``, of weights or bytes, from transformers' order to that of the file."""
        return np.ascontiguousarray(rows[self.order(len(rows))]) if self.order else rows


UNCHANGED = Conversion()


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a file. ``shape``: rows first.

    ``parameter``: its name in transformers; None for a tensor filled with ``fill``. ``transposed``: transformers stores
    it ``(in, out)``. ``typed``: a matrix whose type can be chosen. ``half``: 0 or 1 for the first or second half of the
    rows of each expert.
    """

    name: str
    shape: tuple[int, ...]
    parameter: str | None
    transposed: bool = False
    typed: bool = True
    conversion: Conversion = UNCHANGED
    fill: float = 0.0
    half: int | None = None

    def of_shape(self, shape: tuple[int, ...]) -> TensorSpec:
        """Return the spec of a parameter of another ``shape``."""
        if self.half is not None:
            shape = (shape[0], shape[1] // 2, shape[2])
        return replace(self, shape=tuple(reversed(shape)) if self.transposed else shape)

    def rows(self, weight: torch.Tensor) -> Floats:
        """``weight``, the parameter, as the file holds it, in float32."""
        rows = self.conversion.ordered(self.some_rows(weight, slice(None)))
        return rows + np.float32(self.conversion.added) if self.conversion.added else rows

    def some_rows(self, weight: torch.Tensor, places: Any) -> Floats:
        """The rows of ``weight`` at ``places``, as transformers has them, in float32."""
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
        plain, order = (
            rows - np.float32(self.conversion.added) if self.conversion.added else rows,
            self.conversion.order,
        )
        loaded = torch.tensor(plain[np.argsort(order(len(rows)))] if order else plain).to(weight.dtype)
        return torch.equal(loaded.T if self.transposed else loaded, weight.detach().cpu())


def head_size(model: Any) -> int:
    """Return the width of a head."""
    config = model.config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def hidden_size(model: Any) -> int:
    """Return the width of the hidden states."""
    return int(model.config.get_text_config().hidden_size)


def within_block(name: str) -> str:
    """Return the name of a tensor within its block."""
    return name.split(".", 2)[2] if name.startswith(BLOCK) else name


def find_specs(model: Any, architecture: str, conversions: Mapping[str, Conversion] | None = None) -> list[TensorSpec]:
    """Return the tensor of each parameter of ``model``; blocks without matrices are skipped, the others renumbered.

    ``conversions``: by names :func:`within_block`; None: the conversions of llama.cpp's converter for the architecture.
    """
    architectures = {name: key for key, name in MODEL_ARCH_NAMES.items()}
    if architecture not in architectures:
        raise InputError(f"the architecture '{architecture}' is not one that the package gguf knows", "problem.model")
    prefix, blocks = find_blocks(model)
    old = [number for number, block in enumerate(blocks) if has_matrices(block)]
    numbers = {f"{prefix}.{number}": f"{prefix}.{new}" for new, number in enumerate(old)}
    names = get_tensor_name_map(architectures[architecture], len(old))
    if conversions is None:
        orders: dict[str, Order] = {}
        if architecture == LLAMA:
            orders = dict.fromkeys(("attn_q", "attn_k"), partial(_rotary_order, size=head_size(model)))
        elif architecture == GPTNEOX:
            orders = {"attn_qkv": partial(_fused_order, size=head_size(model), queries=1)}
        conversions = {
            f"{name}.{kind}": Conversion(order) for name, order in orders.items() for kind in ("weight", "bias")
        }
    tokens, specs = model.get_input_embeddings(), []
    for parameter, weight in model.named_parameters():
        module, _, kind = parameter.rpartition(".")
        renumbered = module
        if module.startswith(f"{prefix}."):
            number, _, rest = module.removeprefix(f"{prefix}.").partition(".")
            if (block := f"{prefix}.{number}") not in numbers:
                continue  # a norm that the sublayers of a dropped block shared
            renumbered = f"{numbers[block]}.{rest}"
        layer: Any = model.get_submodule(module)
        transposed = isinstance(layer, Conv1D) and weight.dim() == 2
        typed = weight.dim() == 2 and (layer is tokens or not isinstance(layer, nn.Embedding))
        plain = TensorSpec(f"{renumbered}.{kind}", (), parameter, transposed, typed).of_shape(tuple(weight.shape))
        for spec in _halves(plain, layer, renumbered) if weight.dim() > 2 else [plain]:
            place, _, kind = spec.name.rpartition(".")
            if (name := names.get_name(place)) is None:
                why = f"{parameter} has no place in .gguf files of the architecture {architecture}"
                raise InputError(f"{why}: export the model to a folder", "problem.model")
            within = within_block(name := f"{name}.{kind}")
            conversion = conversions.get(within, UNCHANGED)
            specs.append(replace(spec, name=name, typed=typed and within != ROUTER, conversion=conversion))
    return specs


def specs_by_parameter(
    model: Any, architecture: str, conversions: Mapping[str, Conversion] | None
) -> dict[str, list[TensorSpec]]:
    """Return :func:`find_specs` by the name of the parameter."""
    specs: dict[str, list[TensorSpec]] = {}
    for spec in find_specs(model, architecture, conversions):
        specs.setdefault(str(spec.parameter), []).append(spec)
    return specs


def _halves(spec: TensorSpec, experts: Any, module: str) -> Iterator[TensorSpec]:
    """Yield the one or two tensors of ``spec``, of stacked ``experts``, named like parameters of ``module``."""
    kind = spec.name.rpartition(".")[2]
    if experts.is_transposed or experts.has_bias or not experts.is_concatenated:
        yield spec  # llama.cpp has no name for it
    elif kind in _HALVES:
        for half, name in enumerate(_HALVES[kind]):
            yield replace(spec, name=f"{module}.{name}.weight", half=half).of_shape(spec.shape)
    else:
        yield replace(spec, name=f"{module}.{kind}.weight")


def _rotary_order(count: int, size: int) -> NDArray[np.intp]:
    """Pair the halves of heads of ``size`` rows: llama.cpp rotates neighbouring rows of Llama models."""
    return np.arange(count).reshape(-1, 2, size // 2).swapaxes(1, 2).ravel()


def _fused_order(count: int, size: int, queries: int) -> NDArray[np.intp]:
    """Order all queries, keys, then values, where transformers has ``queries``, a key and a value in turn."""
    groups = np.arange(count).reshape(-1, queries + 2, size)
    return np.concatenate([part.ravel() for part in np.split(groups, [queries, queries + 1], axis=1)])


def learn_conversion(spec: TensorSpec, model: Any, tensor: Tensor, matrix: Conversion) -> Conversion | None:
    """Return the conversion of ``tensor`` by comparison with the parameter of ``spec``; None for an unknown conversion.

    ``matrix``: the conversion of the matrix, if ``spec`` is its bias. Stacked experts are always unchanged.
    """
    count, dimensions = tensor.shape[0], len(tensor.shape)
    if dimensions > 2:
        return UNCHANGED
    weight = model.get_parameter(spec.parameter)
    sample = np.arange(count) if dimensions == 1 else np.unique(np.linspace(0, count - 1, _SAMPLE, dtype=np.intp))
    rows = values(tensor)[0] if dimensions == 1 else values(tensor, sample)

    def distance(conversion: Conversion) -> float:
        places = conversion.order(count)[sample] if conversion.order else sample
        ours, norm = spec.some_rows(weight, places) + np.float32(conversion.added), float(np.linalg.norm(rows))
        if dimensions == 1:
            off = float(np.linalg.norm(ours - rows))
            return off / norm if norm else float(off > 0)
        return 1 - float((ours * rows).sum()) / max(norm * float(np.linalg.norm(ours)), 1e-30)

    conversions = (
        [matrix, Conversion(matrix.order, added=1.0)]
        if dimensions == 1
        else _conversions_of_matrix(spec.shape[0], model)
    )
    distances = {conversion: distance(conversion) for conversion in conversions}
    best = min(distances, key=distances.__getitem__)
    return best if distances[best] <= _DISTANCES[dimensions] else None


def _conversions_of_matrix(rows: int, model: Any) -> Iterator[Conversion]:
    size, heads = head_size(model), model.config.get_text_config().num_attention_heads
    yield UNCHANGED
    if rows % size == 0:
        yield Conversion(partial(_rotary_order, size=size))
        groups = (rows // size - heads) // 2
        if groups > 0 and rows == (heads + 2 * groups) * size and heads % groups == 0:
            yield Conversion(partial(_fused_order, size=size, queries=heads // groups))


def values(tensor: Tensor, rows: Any = slice(None)) -> Floats:
    """Dequantise ``rows`` of ``tensor`` to float32."""
    return ggml.dequantize(tensor.data[rows], tensor.kind, tensor.shape[-1])
