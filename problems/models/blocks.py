"""Finds a model's transformer blocks and their prunable matrices, by structure alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from evoprune import InputError


@dataclass(frozen=True)
class Matrix:
    """A prunable weight matrix.

    ``name``: the module's full name. ``block``: the index of its block. ``kind``: its name
    within the block, the same in every block. ``module``: the layer; its weight lies
    ``(out, in)`` for ``Linear`` and ``(in, out)`` for ``Conv1D``.
    """

    name: str
    block: int
    kind: str
    module: nn.Module

    @property
    def weight(self) -> torch.Tensor:
        """The parameter, as the layer stores it."""
        return self.module.weight  # type: ignore[return-value]

    @property
    def transposed(self) -> bool:
        """Whether the weight lies ``(in, out)``."""
        return isinstance(self.module, Conv1D)

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """A view of ``tensor``, in the weight's layout, as ``(out, in)``; it also converts back."""
        return tensor.T if self.transposed else tensor

    @property
    def size(self) -> int:
        """How many weights it has."""
        return self.weight.numel()


def prunable(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers with a two-dimensional weight in ``block``: ``Linear`` and ``Conv1D``, by name."""
    for name, module in block.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)):
            yield name, module


def probe_tokens(model: Any) -> torch.Tensor:
    """A window ``(1, 6)`` of tokens that are in the vocabulary of ``model``, for short runs."""
    known: int = model.get_input_embeddings().num_embeddings
    return torch.arange(6, device=model.device)[None] % known


def in_features(layer: Any) -> int:
    """How many inputs ``layer``, a ``Linear`` or ``Conv1D``, has."""
    return int(layer.weight.shape[0 if isinstance(layer, Conv1D) else 1])


def max_positions(model: Any) -> int | None:
    """The most tokens that ``model`` reads at once; None where nothing limits it."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The name and the module list of the transformer blocks.

    This is the outermost list whose members are all of one class and contain prunable layers;
    of several, the one with the most parameters. Raises :class:`evoprune.InputError` if
    there is none.
    """
    found: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(outer + ".") for outer, _ in found)
        if isinstance(module, nn.ModuleList) and not inside and _is_stack(module):
            found.append((name, module))
    if not found:
        raise InputError(
            f"{type(model).__name__} has no list of similar blocks with Linear or Conv1D layers, so there is "
            "nothing to prune; expected a decoder such as GPT-2, Llama, OPT or GPT-NeoX",
            "problem.model",
        )
    return max(found, key=lambda item: sum(p.numel() for p in item[1].parameters()))


def _is_stack(modules: nn.ModuleList) -> bool:
    classes = {type(module) for module in modules}
    return len(classes) == 1 and any(True for _ in prunable(modules))


def keep_blocks(model: Any, kept: Sequence[int]) -> None:
    """Leave only the blocks ``kept``, by number, in ``model``, and say so in its config."""
    name, blocks = find_blocks(model)
    owner, _, own_name = name.rpartition(".")
    setattr(model.get_submodule(owner), own_name, nn.ModuleList(blocks[block] for block in kept))
    config = model.config.get_text_config()
    for key, value in list(vars(config).items()):  # the kind of attention of each block, for example
        if "layer" in key and isinstance(value, list) and len(value) == len(blocks):
            setattr(config, key, [value[block] for block in kept])
    config.num_hidden_layers = len(kept)


def number_attentions(model: Any) -> list[tuple[Any, int]]:
    """Number the attentions that are left without gaps: a cache keeps keys and values by these numbers.

    Where the config says which kind of attention each layer has, a cache has such places too, so that each is numbered
    among those of its kind. Returns the modules and the numbers that they had.
    """
    before: list[tuple[Any, int]] = []
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    try:
        blocks = find_blocks(model)[1]
    except InputError:  # all of their layers were dropped
        return before
    kinds = kinds if len(kinds) == len(blocks) else [None] * len(blocks)
    free = {kind: iter([place for place, other in enumerate(kinds) if other == kind]) for kind in set(kinds)}
    for kind, block in zip(kinds, blocks, strict=True):
        numbered: list[Any] = [m for m in block.modules() if m is not block and hasattr(m, "layer_idx")]
        number = next(free[kind]) if numbered else 0
        for module in numbered:
            before.append((module, module.layer_idx))
            module.layer_idx = number
    return before


@contextmanager
def attentions_numbered(model: Any) -> Iterator[None]:
    """Let ``model``, of which a transform may have dropped attentions, run with a cache of keys and values."""
    before = number_attentions(model)
    try:
        yield
    finally:
        for module, number in before:
            module.layer_idx = number


def find_matrices(model: nn.Module) -> list[Matrix]:
    """Every prunable matrix of ``model``, block by block.

    Raises :class:`evoprune.InputError`, also if some weights would silently be left out.
    """
    name, blocks = find_blocks(model)
    if experts := list(dict.fromkeys(name for block in blocks for name in _stacked(block))):
        raise InputError(
            f"{type(model).__name__} holds several matrices in one parameter ({', '.join(experts)} of blocks): "
            "mixture-of-experts models are not supported yet; expected a dense decoder such as GPT-2 or Llama",
            "problem.model",
        )
    return [
        Matrix(f"{name}.{index}.{kind}", index, kind, module)
        for index, block in enumerate(blocks)
        for kind, module in prunable(block)
    ]


def count_zeros(matrices: Iterable[Matrix]) -> int:
    """The number of zeros in ``matrices``, counted in the model."""
    return sum(int(matrix.weight.numel() - torch.count_nonzero(matrix.weight)) for matrix in matrices)


def _stacked(block: nn.Module) -> list[str]:
    """The parameters of ``block`` with more than two dimensions, as experts have; convolutions are not counted."""
    return [
        f"{module_name}.{name}"
        for module_name, module in block.named_modules()
        if not isinstance(module, nn.Conv1d)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 2
    ]
