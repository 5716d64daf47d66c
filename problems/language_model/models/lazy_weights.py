"""Lazy weights: made, or copied to the execution device, whenever their layer runs, and dropped after it."""

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
"""The parameters of modules for one run, by name."""

_execution_devices: WeakKeyDictionary[nn.Module, torch.device] = WeakKeyDictionary()
"""The execution devices of models whose weights are offloaded."""

MakeWeight = Callable[[torch.Tensor | None], torch.Tensor]
"""Makes a weight as its layer stores it; of an embedding, only the rows with the given numbers, int64."""


class LazyForward:
    """The forward of ``module``, for any number of threads, with weights from ``makers``, by parameter name.

    All parameters are copied to ``device`` for a run; None: they stay where they are.
    """

    def __init__(self, module: nn.Module, makers: Mapping[str, MakeWeight], device: torch.device | None = None) -> None:
        self.makers, self.device, self._module = makers, device, module

    def __deepcopy__(self, _: Any) -> "LazyForward":
        return self  # models/load.py gives a copied model the weights

    def __call__(self, inputs: torch.Tensor, *others: Any, **named: Any) -> Any:
        rows = None
        if isinstance(self._module, nn.Embedding):
            rows, inputs = (inputs if self.device is None else inputs.cpu()).unique(return_inverse=True)
        inputs = inputs if self.device is None else inputs.to(self.device)
        return self.layer(self.parameters(rows), rows is not None)(inputs, *others, **named)

    def layer(self, parameters: Mapping[str, nn.Parameter], some_rows: bool = False) -> Callable[..., Any]:
        """Return the forward with ``parameters``; of an embedding, perhaps only ``some_rows``."""
        layer: Any = copy(self._module)
        layer._parameters = {**layer._parameters, **parameters}
        if some_rows:
            layer.padding_idx = None  # it matters to gradients alone, and may be beyond these rows
        if self.device is not None:
            layer._buffers = {
                name: each if each is None else each.to(self.device) for name, each in layer._buffers.items()
            }
        return partial(type(layer).forward, layer)

    def parameters(self, rows: torch.Tensor | None = None) -> dict[str, nn.Parameter]:
        """Make the parameters by name; ``rows``: the rows of an embedding that are needed."""
        if self.device is None:
            return {name: nn.Parameter(make(rows), requires_grad=False) for name, make in self.makers.items()}
        copies = {}
        for name, stored in self._module._parameters.items():
            if stored is not None:
                weight = self.makers[name](rows) if name in self.makers else stored if rows is None else stored[rows]
                copies[name] = nn.Parameter(weight.to(self.device), requires_grad=False)
        return copies


def make_lazy(module: nn.Module, make: MakeWeight | None, name: str = "weight") -> None:
    """Let ``make`` make the parameter ``name`` of ``module`` for each run; None: the stored values."""
    lazy = _lazy_forward(module)
    makers = {**(lazy.makers if lazy else {}), name: make}
    _put(module, {key: each for key, each in makers.items() if each}, lazy.device if lazy else None)


def set_execution_device(model: nn.Module, device: torch.device) -> None:
    """Run the layers of ``model`` on ``device``; their weights are offloaded: copied to it for each run."""
    _execution_devices[model] = device
    for module in model.modules():
        if module._parameters:
            lazy = _lazy_forward(module)
            _put(module, lazy.makers if lazy else {}, device)


@contextmanager
def without_offloading(model: nn.Module) -> Iterator[None]:
    """Run the layers of ``model`` where their weights are, so that gradients flow to them."""
    device = _execution_devices.pop(model, None)
    try:
        if device:
            for module, lazy in lazy_forwards(model).items():
                _put(module, lazy.makers, None)
        yield
    finally:
        if device:  # the makers may have changed meanwhile
            set_execution_device(model, device)


def execution_device(model: Any) -> torch.device:
    """Return the device on which the layers of ``model`` run."""
    return _execution_devices.get(model, model.device)  # type: ignore[no-any-return]


def is_offloaded(model: nn.Module) -> bool:
    """Tell whether the weights of ``model`` are copied to its execution device."""
    return model in _execution_devices


def _put(module: nn.Module, makers: Mapping[str, MakeWeight], device: torch.device | None) -> None:
    vars(module).pop("forward", None)
    if makers or device:
        module.forward = LazyForward(module, makers, device)


def maker_of(module: nn.Module, name: str = "weight") -> MakeWeight | None:
    """Return the function that makes the parameter ``name`` of ``module`` for each run; None if it is stored."""
    lazy = _lazy_forward(module)
    return lazy.makers.get(name) if lazy else None


def _lazy_forward(module: nn.Module) -> LazyForward | None:
    forward = vars(module).get("forward")
    return forward if isinstance(forward, LazyForward) else None


def lazy_forwards(model: nn.Module) -> dict[nn.Module, LazyForward]:
    """Return the modules of ``model`` with lazy weights, and their forwards."""
    return {module: lazy for module in model.modules() if (lazy := _lazy_forward(module))}


def restore_lazy_forwards(model: nn.Module, forwards: Mapping[nn.Module, LazyForward]) -> None:
    """Give ``model`` the ``forwards`` that :func:`lazy_forwards` returned before, and no others."""
    for module in lazy_forwards(model):
        del module.forward
    for module, forward in forwards.items():
        module.forward = forward


def materialise(modules: Iterable[nn.Module], forwards: Mapping[nn.Module, LazyForward]) -> Weights:
    """Make the weights of the ``modules`` that have lazy ``forwards``."""
    return {module: forwards[module].parameters() for module in modules if module in forwards}


@contextmanager
def materialised(modules: Iterable[nn.Module], weights: Weights | None = None) -> Iterator[None]:
    """Run ``modules`` with ``weights`` of :func:`materialise`, by default made now, once for all runs."""
    forwards = {module: lazy for module in modules if (lazy := _lazy_forward(module))}
    try:
        for module, parameters in (weights or materialise(forwards, forwards)).items():
            module.forward = forwards[module].layer(parameters)
        yield
    finally:
        for module, lazy in forwards.items():
            module.forward = lazy


def prefetched(makers: Iterable[Callable[[], Weights]], device: torch.device) -> Iterator[Weights]:
    """Yield the weights of each of ``makers`` for ``device``, while a thread makes the next ones.

    On a device with streams it uses a second one.
    """
    streams: Any = torch.get_device_module(device)
    second = streams.Stream(device) if function_of(device, "Stream") else None

    def in_thread(make: Callable[[], Weights]) -> Weights:
        with torch.inference_mode(), streams.stream(second) if second else nullcontext():
            return make()

    with ThreadPoolExecutor(1) as pool:
        futures = (pool.submit(in_thread, make) for make in makers)
        for future, _ in pairwise(chain(futures, [None])):
            assert future is not None
            weights = future.result()
            if second:
                running = streams.current_stream(device)
                running.wait_stream(second)
                for parameter in chain.from_iterable(parameters.values() for parameters in weights.values()):
                    parameter.record_stream(running)  # its memory is reused when this stream is past it
            yield weights


def weight_of(module: Any, name: str = "weight") -> torch.Tensor:
    """Return the values of the parameter ``name`` that ``module`` runs with."""
    make = maker_of(module, name)
    return make(None) if make else getattr(module, name)
