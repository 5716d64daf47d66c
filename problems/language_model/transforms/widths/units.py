"""Units of a sublayer, channels or heads: their rows and columns in its matrices.

Short runs of the model find out whether the rows of a fused matrix are interleaved.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import Matrix, probe_tokens
from evoprune.problems.language_model.models.sublayers import Sublayer
from evoprune.problems.language_model.transforms.costs import PARAMETERS, WEIGHTS
from evoprune.problems.language_model.transforms.structured import BlockUnits

_TOLERANCE = 0.05
"""Largest relative difference of equal outputs: rounding in bfloat16 is far below it, rows of other units far above."""

COUNTS = ("num_heads", "num_attention_heads", "n_heads", "num_key_value_heads", "num_kv_heads", "split_size")
"""Attributes of modules of transformers that a forward pass reads and that are proportional to the number of units."""


@dataclass(frozen=True)
class UnitSlices:
    """One matrix of a sublayer. ``indices`` ``(units, size)``, int64: the rows of each unit, or its ``columns``."""

    matrix: Matrix
    indices: torch.Tensor
    columns: bool

    def select(self, weight: Any, bias: Any, kept: torch.Tensor) -> tuple[Any, Any]:
        """Return the ``kept`` units of ``weight``, in the matrix's shape and layout, and of ``bias``."""
        at = self.indices[kept].flatten().sort().values  # kinds of rows of a fused matrix keep their order
        selected = self.matrix.rows(self.matrix.rows(weight).index_select(int(self.columns), at)).contiguous()
        if bias is not None and not self.columns:
            bias = nn.Parameter(bias.index_select(0, at), requires_grad=False)
        return nn.Parameter(selected, requires_grad=False), bias


class Units:
    """The ``count`` units of one sublayer, which is dense when this is made."""

    def __init__(self, sublayer: Sublayer, slices: Sequence[UnitSlices]) -> None:
        """``slices``: by matrix; the last is the output matrix, the only one whose columns belong to units."""
        self.sublayer, self.slices, self.output, self.count = sublayer, slices, slices[-1], len(slices[0].indices)
        self._dense: list[tuple[Any, Any]] = [(part.matrix.module.weight, part.matrix.module.bias) for part in slices]
        modules = {module: None for child in sublayer.children.values() for module in child.modules()}
        self._counts = [(m, name, vars(m)[name]) for m in modules for name in COUNTS if name in vars(m)]

    def costs(self, counts: Sequence[int]) -> BlockUnits:
        """Return the ``counts`` that may remain, with the costs of a unit and of the dense sublayer."""
        weights = biases = 0
        for part in self.slices:
            rows, size = part.matrix.rows(part.matrix.weight), part.indices.shape[1]
            weights += size * rows.shape[0 if part.columns else 1]
            biases += 0 if part.columns or part.matrix.module.bias is None else size
        total = {WEIGHTS: self.sublayer.weights, PARAMETERS: self.sublayer.parameters}
        return BlockUnits(counts, {WEIGHTS: weights, PARAMETERS: weights + biases}, total)

    @property
    def dense_output(self) -> torch.Tensor:
        """The loaded weight of the output matrix, in its layout."""
        weight: torch.Tensor = self._dense[-1][0]
        return weight

    def narrow(self, kept: torch.Tensor, output: torch.Tensor | None = None) -> None:
        """Reduce the layers to the units ``kept`` (int64, in order); all units restore the loaded parameters.

        ``output``: the weight of the output matrix, in its layout; None for the columns that were loaded.
        """
        remaining = self._dense
        if len(kept) < self.count:  # all layers, or none if one fails
            selected = self.slices if output is None else self.slices[:-1]
            remaining = [part.select(*dense, kept) for part, dense in zip(selected, self._dense, strict=False)]
            if output is not None:
                remaining.append((nn.Parameter(output, requires_grad=False), self._dense[-1][1]))
        for part, (weight, bias) in zip(self.slices, remaining, strict=True):
            layer: Any = part.matrix.module
            layer.weight, layer.bias = weight, bias
            names = ("nf", "nx") if part.matrix.transposed else ("out_features", "in_features")
            for name, number in zip(names, part.matrix.rows(weight).shape, strict=True):
                setattr(layer, name, number)
        for module, name, number in self._counts:
            setattr(module, name, number * len(kept) // self.count)

    def restore(self) -> None:
        self.narrow(torch.arange(self.count))


def split(
    sublayer: Sublayer, matrices: Mapping[nn.Module, Matrix], count: int, choices: Sequence[Sequence[int]],
    interleaved: bool,
) -> Units:  # fmt: skip
    """Split ``sublayer`` into ``count`` units, with equal numbers of columns in the output matrix.

    Each other matrix has rows for one or more kinds of outputs; one of ``choices`` lists the rows of each kind in a
    unit. Kinds follow each other, or are ``interleaved``: all rows of a unit together.
    """
    *inputs, output = [matrices[layer] for layer in sublayer.layers]
    hidden, width = output.rows(output.weight).shape
    by_rows = {count * sum(sizes): sizes for sizes in choices}
    slices = []
    for matrix in inputs:
        out, into = matrix.rows(matrix.weight).shape
        if out not in by_rows or into != hidden:
            expected = f"expected {' or '.join(map(str, by_rows))} outputs and {hidden} inputs"
            why = f"{matrix.kind} has {out} outputs and {into} inputs; {expected}"
            where = f"the {sublayer.kind} of block {sublayer.block}"
            raise InputError(f"{where} cannot be narrowed: {why}", "problem.model")
        rows = torch.arange(out, device=matrix.weight.device)
        kinds = [rows] if interleaved else rows.split([count * size for size in by_rows[out]])
        slices.append(UnitSlices(matrix, torch.cat([kind.view(count, -1) for kind in kinds], 1), columns=False))
    columns = torch.arange(width, device=output.weight.device).view(count, -1)
    return Units(sublayer, [*slices, UnitSlices(output, columns, columns=True)])


@torch.no_grad()
def find_layout(model: Any, split: Callable[[bool], Sequence[Units]]) -> Sequence[Units]:
    """Return the units of each block by ``split(interleaved)``, in the layout of the model."""
    for interleaved in (False, True):
        units = split(interleaved)
        if _equals_masked(model, units):
            return units
    parts = ", ".join(part.matrix.kind for part in units[0].slices)
    why = f"{parts} of block 0 with half of their units give other outputs than with the other half set to zero"
    kind = units[0].sublayer.kind
    raise InputError(f"the {kind} of {type(model).__name__} cannot be narrowed: {why}", "problem.model")


def _equals_masked(model: Any, units: Sequence[Units]) -> bool:
    """Return whether removing half of the units gives the same output as masking them."""
    halves = [torch.arange(one.count // 2, one.count, device=model.device) for one in units]
    with ExitStack() as stack:
        for one, half in zip(units, halves, strict=True):
            layer: Any = one.output.matrix.module
            stack.callback(layer.register_forward_pre_hook(partial(_mask_inputs, one, half)).remove)
        expected = _first_output(model, units[0])
    try:
        for one, half in zip(units, halves, strict=True):
            one.narrow(half)
        narrowed = _first_output(model, units[0])
    except (RuntimeError, ValueError, IndexError, TypeError):  # a forward pass that relies on other shapes
        return False
    finally:
        for one in units:
            one.restore()
    return bool((narrowed - expected).norm() <= _TOLERANCE * expected.norm())


def _mask_inputs(units: Units, kept: torch.Tensor, _: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Set the inputs of the output matrix to zero, except the inputs of the units ``kept``."""
    columns = units.output.indices[kept].flatten()
    return (torch.zeros_like(args[0]).index_copy(-1, columns, args[0].index_select(-1, columns)),)


def _first_output(model: Any, units: Units) -> torch.Tensor:
    """Return the first output of the output matrix without its bias, float32: no other block has an influence on it."""
    layer: Any = units.output.matrix.module
    noted: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: noted.append(output))
    try:
        model(input_ids=probe_tokens(model), use_cache=False)
    finally:
        handle.remove()
    return (noted[0] if layer.bias is None else noted[0] - layer.bias).float()
