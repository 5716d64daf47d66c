"""Weights that are made whenever their layer runs, and dropped after it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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


def lates_of(model: nn.Module) -> dict[nn.Module, Late]:
    """The modules of ``model`` whose weights are made, and how."""
    found = {module: vars(module).get("forward") for module in model.modules()}
    return {module: late for module, late in found.items() if isinstance(late, Late)}


def put_lates(model: nn.Module, lates: Mapping[nn.Module, Late]) -> None:
    """Let the modules of ``model`` make their weights as :func:`lates_of` found it before."""
    for module in lates_of(model):
        make_late(module, None)
    for module, late in lates.items():
        module.forward = late


@contextmanager
def made(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let ``modules`` run with weights that are made once, at the beginning."""
    late = [(module, own) for module in modules if isinstance(own := vars(module).get("forward"), Late)]
    before = [module._parameters["weight"] for module, _ in late]
    try:
        for module, own in late:
            module._parameters["weight"] = nn.Parameter(own.make(None), requires_grad=False)
            make_late(module, None)
        yield
    finally:
        for (module, own), weight in zip(late, before, strict=True):
            module._parameters["weight"] = weight
            module.forward = own


def weight_of(module: Any) -> torch.Tensor:
    """The weight that ``module`` runs with."""
    late = vars(module).get("forward")
    return late.make(None) if isinstance(late, Late) else module.weight
