"""The units of a sublayer, channels or heads: their rows and columns in its matrices.

Two short runs find out whether the rows of a fused matrix are interleaved.
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
from evoprune.problems.language_model.transforms.part_cut import Parts

_TOLERANCE = 0.05
"""The largest relative difference: roundings of bfloat16 are far below it, rows of other units far above."""

COUNTS = ("num_heads", "num_attention_heads", "n_heads", "num_key_value_heads", "num_kv_heads", "split_size")
"""Names of the numbers in modules of transformers that are proportional to the units, and that a forward pass reads."""


@dataclass(frozen=True)
class Part:
    """One matrix of a sublayer. ``places`` ``(units, size)``, int64: the rows of each unit, or its ``columns``."""

    matrix: Matrix
    places: torch.Tensor
    columns: bool

    def take(self, weight: Any, bias: Any, kept: torch.Tensor) -> tuple[Any, Any]:
        """Return the ``kept`` units of ``weight``, which has the matrix's shape and layout, and of ``bias``."""
        at = self.places[kept].flatten().sort().values  # parts of a fused matrix stay in their order
        taken = self.matrix.rows(self.matrix.rows(weight).index_select(int(self.columns), at)).contiguous()
        if bias is not None and not self.columns:
            bias = nn.Parameter(bias.index_select(0, at), requires_grad=False)
        return nn.Parameter(taken, requires_grad=False), bias


class Units:
    """The ``count`` units of one sublayer. It is whole when this is made."""

    def __init__(self, sublayer: Sublayer, parts: Sequence[Part]) -> None:
        """``parts``: the last one is the output matrix, the only one whose columns belong to units."""
        self.sublayer, self.parts, self.output, self.count = sublayer, parts, parts[-1], len(parts[0].places)
        self._whole: list[tuple[Any, Any]] = [(part.matrix.module.weight, part.matrix.module.bias) for part in parts]
        modules = {module: None for child in sublayer.children.values() for module in child.modules()}
        self._counts = [(m, name, vars(m)[name]) for m in modules for name in COUNTS if name in vars(m)]

    def parts_of(self, counts: Sequence[int]) -> Parts:
        """Return the ``counts`` that may stay, and the costs of a unit and of the sublayer, while it is whole."""
        weights = biases = 0
        for part in self.parts:
            rows, size = part.matrix.rows(part.matrix.weight), part.places.shape[1]
            weights += size * rows.shape[0 if part.columns else 1]
            biases += 0 if part.columns or part.matrix.module.bias is None else size
        one, whole = {WEIGHTS: weights, PARAMETERS: weights + biases}, self.sublayer
        return Parts(counts, one, {WEIGHTS: whole.weights, PARAMETERS: whole.parameters})

    @property
    def whole_output(self) -> torch.Tensor:
        """The weight of the output matrix as it was loaded, in its layout."""
        whole: torch.Tensor = self._whole[-1][0]
        return whole

    def narrow(self, kept: torch.Tensor, output: torch.Tensor | None = None) -> None:
        """Leave only the units ``kept`` (int64, in order) in the layers, with ``output`` as the output matrix's weight.

        ``output`` is in the layer's layout; None takes the columns that were loaded. All units put back the
        loaded parameters.
        """
        left = self._whole
        if len(kept) < self.count:  # all layers, or none if one fails
            taken = self.parts if output is None else self.parts[:-1]
            left = [part.take(*whole, kept) for part, whole in zip(taken, self._whole, strict=False)]
            if output is not None:
                left.append((nn.Parameter(output, requires_grad=False), self._whole[-1][1]))
        for part, (weight, bias) in zip(self.parts, left, strict=True):
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
    """Return ``sublayer`` as ``count`` units, with the same number of columns each in the output matrix.

    Each other matrix has rows for one or more kinds of outputs; one of ``choices`` lists how many rows of each kind a
    unit has. Kinds follow each other, or are ``interleaved``: all rows of a unit together.
    """
    *inputs, output = [matrices[layer] for layer in sublayer.layers]
    hidden, width = output.rows(output.weight).shape
    by_rows = {count * sum(sizes): sizes for sizes in choices}
    parts = []
    for matrix in inputs:
        out, into = matrix.rows(matrix.weight).shape
        if out not in by_rows or into != hidden:
            expected = f"expected {' or '.join(map(str, by_rows))} outputs and {hidden} inputs"
            why = f"{matrix.kind} has {out} outputs and {into} inputs; {expected}"
            where = f"the {sublayer.kind} of block {sublayer.block}"
            raise InputError(f"{where} cannot be narrowed: {why}", "problem.model")
        rows = torch.arange(out, device=matrix.weight.device)
        kinds = [rows] if interleaved else rows.split([count * size for size in by_rows[out]])
        parts.append(Part(matrix, torch.cat([kind.view(count, -1) for kind in kinds], 1), columns=False))
    columns = torch.arange(width, device=output.weight.device).view(count, -1)
    return Units(sublayer, [*parts, Part(output, columns, columns=True)])


@torch.no_grad()
def tell_apart(model: Any, split: Callable[[bool], Sequence[Units]]) -> Sequence[Units]:
    """Return the units of each block by ``split(interleaved)``, in the layout that is the model's."""
    for interleaved in (False, True):
        units = split(interleaved)
        if _agree(model, units):
            return units
    parts = ", ".join(part.matrix.kind for part in units[0].parts)
    why = f"{parts} of block 0 with half of their units give other outputs than with the other half set to zero"
    kind = units[0].sublayer.kind
    raise InputError(f"the {kind} of {type(model).__name__} cannot be narrowed: {why}", "problem.model")


def _agree(model: Any, units: Sequence[Units]) -> bool:
    """Return whether half of the units give the same with the others left out as with them set to zero."""
    halves = [torch.arange(one.count // 2, one.count, device=model.device) for one in units]
    with ExitStack() as stack:
        for one, half in zip(units, halves, strict=True):
            layer: Any = one.output.matrix.module
            stack.callback(layer.register_forward_pre_hook(partial(_keep, one, half)).remove)
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


def _keep(units: Units, kept: torch.Tensor, _: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Set the inputs of the output matrix to zero, but for the units ``kept``."""
    columns = units.output.places[kept].flatten()
    return (torch.zeros_like(given[0]).index_copy(-1, columns, given[0].index_select(-1, columns)),)


def _first_output(model: Any, units: Units) -> torch.Tensor:
    """Return the first result of the output matrix without its bias, float32: all before it are the same in any run."""
    layer: Any = units.output.matrix.module
    noted: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, __, output: noted.append(output))
    try:
        model(input_ids=probe_tokens(model), use_cache=False)
    finally:
        handle.remove()
    return (noted[0] if layer.bias is None else noted[0] - layer.bias).float()
