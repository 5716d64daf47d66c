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
    """The forward of ``module`` with weights that ``makes`` make, by the names of its parameters, which stay.

    In any number of threads.
    """

    def __init__(self, module: nn.Module, makes: Mapping[str, Make]) -> None:
        self.makes, self._module = makes, module

    def __deepcopy__(self, _: Any) -> "Late":
        return self  # a copied model has the values

    def __call__(self, given: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:
        layer, rows = copy(self._module), None
        if isinstance(layer, nn.Embedding):
            rows, given = given.unique(return_inverse=True)
            layer.padding_idx = None  # it matters to gradients alone, and may be beyond these rows
        layer._parameters = {**layer._parameters, **self.made(rows)}
        return type(layer).forward(layer, given, *others, **named)  # type: ignore[no-any-return]

    def made(self, rows: torch.Tensor | None) -> dict[str, nn.Parameter | None]:
        return {name: nn.Parameter(make(rows), requires_grad=False) for name, make in self.makes.items()}


def make_late(module: nn.Module, make: Make | None, name: str = "weight") -> None:
    """Let ``module`` run with values of its parameter ``name`` that ``make`` makes; None: with its own again."""
    late = _late_of(module)
    makes = {own: each for own, each in (late.makes if late else {}).items() if own != name}
    if make:
        makes[name] = make
    vars(module).pop("forward", None)
    if makes:
        module.forward = Late(module, makes)


def maker_of(module: nn.Module, name: str = "weight") -> Make | None:
    """The function that makes the parameter ``name`` of ``module`` whenever it runs; None if it has its own."""
    late = _late_of(module)
    return late.makes.get(name) if late else None


def _late_of(module: nn.Module) -> Late | None:
    found = vars(module).get("forward")
    return found if isinstance(found, Late) else None


def lates_of(model: nn.Module) -> dict[nn.Module, Late]:
    """The modules of ``model`` whose weights are made, and how."""
    return {module: late for module in model.modules() if (late := _late_of(module))}


def put_lates(model: nn.Module, lates: Mapping[nn.Module, Late]) -> None:
    """Let the modules of ``model`` make their weights as :func:`lates_of` found it before."""
    for module in lates_of(model):
        del module.forward
    for module, late in lates.items():
        module.forward = late


@contextmanager
def made(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let ``modules`` run with weights that are made once, at the beginning."""
    late = [(module, own) for module in modules if (own := _late_of(module))]
    before = [dict(module._parameters) for module, _ in late]
    try:
        for module, own in late:
            module._parameters.update(own.made(None))
            del module.forward
        yield
    finally:
        for (module, own), parameters in zip(late, before, strict=True):
            module._parameters.update(parameters)
            module.forward = own


def weight_of(module: Any, name: str = "weight") -> torch.Tensor:
    """The values of the parameter ``name`` that ``module`` runs with."""
    make = maker_of(module, name)
    return make(None) if make else getattr(module, name)
