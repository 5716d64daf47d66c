"""Weights that are made whenever their layer runs, and dropped after it."""

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import nn

Make = Callable[[torch.Tensor | None], torch.Tensor]
"""Makes a weight as its layer stores it; of an embedding, the rows that it is given, int64."""


class Late:
    """The forward of ``module`` with a weight that ``make`` makes, in any number of threads; its parameter stays."""

    def __init__(self, module: nn.Module, make: Make) -> None:
        self.make, self._module = make, module

    def __deepcopy__(self, _: Any) -> "Late":
        return self  # a copied model has the values

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        layer, rows = copy(self._module), None
        if isinstance(layer, nn.Embedding):
            rows, given = given.unique(return_inverse=True)
            layer.padding_idx = None  # it matters to gradients alone, and may be beyond these rows
        weight = nn.Parameter(self.make(rows), requires_grad=False)
        layer._parameters = {**layer._parameters, "weight": weight}
        return type(layer).forward(layer, given)  # type: ignore[no-any-return]


def make_late(module: nn.Module, make: Make | None) -> None:
    """Let ``module`` run with weights that ``make`` makes; None: with its parameter again."""
    if make:
        module.forward = Late(module, make)
    else:
        vars(module).pop("forward", None)


def weight_of(module: Any) -> torch.Tensor:
    """The weight that ``module`` runs with."""
    late = vars(module).get("forward")
    return late.make(None) if isinstance(late, Late) else module.weight
