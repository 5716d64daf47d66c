"""Weights that are made whenever their layer runs, or copied to another device for it, and dropped after it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from itertools import chain, pairwise
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from evoprune.problems.language_model.models.device import function_of

Weights = Mapping[nn.Module, dict[str, nn.Parameter]]
"""The parameters of some modules for a run, by their names."""

_places: WeakKeyDictionary[nn.Module, torch.device] = WeakKeyDictionary()
"""Where the layers of models run whose weights are elsewhere."""

Make = Callable[[torch.Tensor | None], torch.Tensor]
"""Makes a weight as its layer stores it; of an embedding, the rows that it is given, int64."""


class Late:
    """The forward of ``module``, in any number of threads, with weights that ``makes`` make, by parameter name.

    All parameters are copied to ``device`` for a run; None: it runs where they are.
    """

    def __init__(self, module: nn.Module, makes: Mapping[str, Make], device: torch.device | None = None) -> None:
        self.makes, self.device, self._module = makes, device, module

    def __deepcopy__(self, _: Any) -> "Late":
        return self  # a copied model has the values

    def __call__(self, given: torch.Tensor, *others: Any, **named: Any) -> Any:
        rows = None
        if isinstance(self._module, nn.Embedding):
            rows, given = (given if self.device is None else given.cpu()).unique(return_inverse=True)
        given = given if self.device is None else given.to(self.device)
        return self.layer(self.made(rows), rows is not None)(given, *others, **named)

    def layer(self, parameters: Mapping[str, nn.Parameter], some_rows: bool = False) -> Callable[..., Any]:
        """The forward with ``parameters``; of an embedding, perhaps only ``some_rows``."""
        layer: Any = copy(self._module)
        layer._parameters = {**layer._parameters, **parameters}
        if some_rows:
            layer.padding_idx = None  # it matters to gradients alone, and may be beyond these rows
        if self.device is not None:
            layer._buffers = {name: own if own is None else own.to(self.device) for name, own in layer._buffers.items()}
        return partial(type(layer).forward, layer)

    def made(self, rows: torch.Tensor | None) -> dict[str, nn.Parameter]:
        """Parameters by their names; ``rows``: the rows of an embedding that are needed."""
        if self.device is None:
            return {name: nn.Parameter(make(rows), requires_grad=False) for name, make in self.makes.items()}
        copies = {}
        for name, own in self._module._parameters.items():
            if own is not None:
                weight = self.makes[name](rows) if name in self.makes else own if rows is None else own[rows]
                copies[name] = nn.Parameter(weight.to(self.device), requires_grad=False)
        return copies


def make_late(module: nn.Module, make: Make | None, name: str = "weight") -> None:
    """Let ``make`` make the values of the parameter ``name`` of ``module`` for each run; None: the stored values."""
    late = _late_of(module)
    makes = {**(late.makes if late else {}), name: make}
    _put(module, {key: one for key, one in makes.items() if one}, late.device if late else None)


def run_on(model: nn.Module, device: torch.device) -> None:
    """Let the layers of ``model`` run on ``device``; their weights stay where they are, and are copied for each run."""
    _places[model] = device
    for module in model.modules():
        if module._parameters:
            late = _late_of(module)
            _put(module, late.makes if late else {}, device)


@contextmanager
def at_home(model: nn.Module) -> Iterator[None]:
    """Let the layers of ``model`` run where their weights are, to which gradients flow."""
    device = _places.pop(model, None)
    try:
        if device:
            for module, late in lates_of(model).items():
                _put(module, late.makes, None)
        yield
    finally:
        if device:  # what is made may have changed meanwhile
            run_on(model, device)


def runs_on(model: Any) -> torch.device:
    """The device that the layers of ``model`` run on."""
    return _places.get(model, model.device)  # type: ignore[no-any-return]


def is_elsewhere(model: nn.Module) -> bool:
    """Tell whether the weights of ``model`` are copied to the device that it runs on."""
    return model in _places


def _put(module: nn.Module, makes: Mapping[str, Make], device: torch.device | None) -> None:
    vars(module).pop("forward", None)
    if makes or device:
        module.forward = Late(module, makes, device)


def maker_of(module: nn.Module, name: str = "weight") -> Make | None:
    """The function that makes the parameter ``name`` of ``module`` whenever it runs; None if it has its own."""
    late = _late_of(module)
    return late.makes.get(name) if late else None


def _late_of(module: nn.Module) -> Late | None:
    forward = vars(module).get("forward")
    return forward if isinstance(forward, Late) else None


def lates_of(model: nn.Module) -> dict[nn.Module, Late]:
    """The modules of ``model`` whose weights are made, and how."""
    return {module: late for module in model.modules() if (late := _late_of(module))}


def put_lates(model: nn.Module, lates: Mapping[nn.Module, Late]) -> None:
    """Let the modules of ``model`` make their weights as :func:`lates_of` found it before."""
    for module in lates_of(model):
        del module.forward
    for module, late in lates.items():
        module.forward = late


def weights_of(modules: Iterable[nn.Module], lates: Mapping[nn.Module, Late]) -> Weights:
    """The weights that ``lates`` make for ``modules``."""
    return {module: lates[module].made(None) for module in modules if module in lates}


@contextmanager
def made(modules: Iterable[nn.Module], weights: Weights | None = None) -> Iterator[None]:
    """Let ``modules`` run with weights that are made once: at the beginning, or before, ``weights``."""
    late = {module: own for module in modules if (own := _late_of(module))}
    try:
        for module, parameters in (weights or weights_of(late, late)).items():
            module.forward = late[module].layer(parameters)
        yield
    finally:
        for module, own in late.items():
            module.forward = own


def ahead(makes: Iterable[Callable[[], Weights]], device: torch.device) -> Iterator[Weights]:
    """Yield the weights that each of ``makes`` makes for ``device``; a thread makes the next weights meanwhile.

    On a device with streams it uses a second one.
    """
    streams: Any = torch.get_device_module(device)
    second = streams.Stream(device) if function_of(device, "Stream") else None

    def made_meanwhile(make: Callable[[], Weights]) -> Weights:
        with torch.inference_mode(), streams.stream(second) if second else nullcontext():
            return make()

    with ThreadPoolExecutor(1) as pool:
        begun = (pool.submit(made_meanwhile, make) for make in makes)
        for future, _ in pairwise(chain(begun, [None])):
            assert future is not None
            weights = future.result()
            if second:
                running = streams.current_stream(device)
                running.wait_stream(second)
                for parameter in chain.from_iterable(parameters.values() for parameters in weights.values()):
                    parameter.record_stream(running)  # its memory is reused when this stream is past it
            yield weights


def weight_of(module: Any, name: str = "weight") -> torch.Tensor:
    """The values of the parameter ``name`` that ``module`` runs with."""
    make = maker_of(module, name)
    return make(None) if make else getattr(module, name)
