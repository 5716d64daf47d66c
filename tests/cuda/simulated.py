"""Simulated CUDA devices: tensors of the CPU that say ``cuda:N``, so that code for a GPU runs without one.

Operators run on the CPU and give its bits. As on a GPU, tensors of different devices do not mix, and a stream may read
a tensor of another one only after it has waited for it. ``counts`` adds up the work of the device.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
counts: Counter[str] = Counter()
"""``launches`` of kernels, ``synchronisations``; ``copies`` and ``bytes``, each ``to`` and ``from`` the device."""

MEMORY = 2**33  # bytes
_CPU = torch.device("cpu")
_WAITING = {aten.equal, aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim}
_COPIES = {aten.copy_, aten._to_copy}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
_NO_KERNEL = {aten.detach, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten._unsafe_view,
              aten.new_empty_strided, aten.lift_fresh, aten.set_, aten.resize_}  # fmt: skip


class Stream:
    """A queue of work; ``seen``: the last work of each stream that is over when later work of this one begins."""

    def __init__(self, device: Any = None, **_: Any) -> None:
        self.device, self.seen, self.last = _device(device or "cuda"), {}, 0

    def wait_stream(self, other: "Stream") -> None:
        self._meet(other.seen)

    def wait_event(self, event: "Event") -> None:
        self._meet(event.seen)

    def synchronize(self) -> None:
        counts["synchronisations"] += 1
        for stream, last in self.seen.items():
            _local().host[stream] = max(last, _local().host.get(stream, 0))

    def is_capturing(self) -> bool:
        return False

    def work(self, read: list[torch.Tensor], written: list[torch.Tensor]) -> None:
        """Add work that reads and writes tensors."""
        self._meet(_local().host)
        for tensor in read:
            stream, last = _written.get(tensor.untyped_storage().data_ptr(), (self, 0))
            if self.seen.get(stream, 0) < last:
                raise RuntimeError("a stream reads a tensor of another one, and has not waited for it")
        self.last += 1
        self.seen[self] = self.last
        for tensor in written:
            _written[tensor.untyped_storage().data_ptr()] = self, self.last

    def _meet(self, seen: dict["Stream", int]) -> None:
        self.seen |= {stream: max(last, self.seen.get(stream, 0)) for stream, last in seen.items()}


class Event:
    """A point in the work of a stream."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.seen: dict[Stream, int] = {}

    def record(self, stream: Stream | None = None) -> None:
        self.seen = dict((stream or current_stream()).seen)


_written: dict[int, tuple[Stream, int]] = {}
"""The stream that last wrote to a storage, and the number of this work, by address."""
_default: dict[torch.device, Stream] = {}
_locals = threading.local()


def _local() -> Any:
    """The state of this thread: its streams, the work it knows to be over, the device of new tensors."""
    if not hasattr(_locals, "streams"):
        _locals.streams, _locals.host, _locals.target = {}, {}, None
    return _locals


def _device(given: Any = None) -> torch.device:
    device = torch.device("cuda", given) if isinstance(given, int) else torch.device(given or "cuda")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def current_stream(device: Any = None) -> Stream:
    device = _device(device)
    return _local().streams.get(device) or _default.setdefault(device, Stream(device))


@contextmanager
def _on_stream(stream: Stream | None) -> Iterator[None]:
    before = dict(_local().streams)
    if stream:
        _local().streams[stream.device] = stream
    yield
    _local().streams = before


class OnDevice(torch.Tensor):
    """A tensor of the CPU that counts as one of ``device``."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    is_cuda, is_cpu = True, False

    @property
    def device(self) -> torch.device:
        return self.place

    def get_device(self) -> int:
        return self.place.index

    def record_stream(self, _: Stream) -> None:
        """Nothing: memory is not reused while a tensor of Python is there."""

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        with torch.no_grad():
            new = self.clone().requires_grad_(self.requires_grad)
        new.__dict__.update({**vars(self), **vars(new)})
        return memo.setdefault(id(self), new)


def _put(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type != "cuda":
        return tensor.as_subclass(torch.Tensor) if isinstance(tensor, OnDevice) else tensor
    put = tensor if type(tensor) is OnDevice else torch.Tensor._make_subclass(OnDevice, tensor)
    put.place = device
    return put


def _count_copy(tensor: torch.Tensor, source: torch.device, target: torch.device, waits: bool = True) -> None:
    """Count a copy between devices; without ``waits`` Python goes on meanwhile."""
    way = "from" if source.type == "cuda" else "to"
    counts.update({f"copies {way}": 1, f"bytes {way}": tensor.nbytes})
    if waits:
        current_stream(source if way == "from" else target).synchronize()


class _Operators(TorchDispatchMode):
    """Runs operators on the CPU; results are on the device of the arguments."""

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._can_decompose():  # without gradients these operators are not split before they are here
            with self:
                return func.decompose(*args, **kwargs)
        packet, given = func.overloadpacket, _tensors((args, kwargs))
        there = [tensor for tensor in given if tensor.is_cuda]
        target = _local().target if any(each.name == "device" for each in func._schema.arguments) else None
        if packet is aten.copy_:
            target = args[0].device
        device = target or (there[0].device if there else _CPU)
        if packet not in _COPIES:
            _check(func, given, there)
        if packet is aten.histc:  # the CPU's takes no integers
            results = func(args[0].double(), *args[1:], **kwargs).to(args[0].dtype)
        else:
            results = func(*args, **kwargs)
        if not there and device == _CPU:
            return results
        results = tree_map_only(torch.Tensor, lambda new: _put(new, device) if _is_new(new, given) else new, results)
        if packet in _COPIES and given[-1].device != device:
            waits = not (kwargs.get("non_blocking") or args[2:3] == (True,))
            current_stream(there[0].device if there else device).work(there, _tensors(results))
            _count_copy(given[-1], given[-1].device, device, waits)
        elif not (func.is_view or packet in _NO_KERNEL):
            self._launch(packet, given, there, _tensors(results), device)
        return results

    def _launch(self, packet: Any, given: Any, there: Any, made: Any, device: torch.device) -> None:
        stream = current_stream(there[0].device if there else device)
        stream.work(there, made)
        if packet is aten._local_scalar_dense:
            _count_copy(given[0], stream.device, _CPU)
            return
        counts["launches"] += 1
        if packet in _INDEXING:
            for index in given[1:]:
                if not index.is_cuda and index.dim():
                    _count_copy(index, _CPU, device)
        if packet in _WAITING or (packet in _INDEXING and any(each.dtype == torch.bool for each in given[1:])):
            stream.synchronize()


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, torch.Tensor)]


def _is_new(tensor: torch.Tensor, given: list[torch.Tensor]) -> bool:
    return all(tensor is not each for each in given)


def _check(func: Any, given: list[torch.Tensor], there: list[torch.Tensor]) -> None:
    """Raise RuntimeError for tensors of several devices; numbers, and indices of a tensor, may be on the CPU."""
    if func.overloadpacket in _INDEXING and given[0].is_cuda:
        given = [tensor for tensor in given if tensor.is_cuda or tensor.dtype not in {torch.int64, torch.bool}]
    devices = {tensor.device for tensor in given if tensor.is_cuda or tensor.dim()}
    if there and len(devices) > 1:
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, found {sorted(map(str, devices))}")


class _Functions(TorchFunctionMode):
    """Takes ``cuda`` from functions that make or move tensors: PyTorch would look for the device."""

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, own = getattr(func, "__name__", ""), args[0] if args and isinstance(args[0], torch.Tensor) else None
        if func == torch.Tensor.data.__set__:
            func(*args)
            return _become(own, args[1].device)
        if own is not None and func in {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda}:
            return _moved(func, *args, **kwargs)
        if own is not None and own.is_cuda and name in {"numpy", "__array__"}:
            raise TypeError("can't convert a tensor of a CUDA device to numpy; call .cpu() first")
        if own is not None and own.is_cuda and name == "tolist":
            return own.cpu().tolist()
        device = kwargs.get("device") if name != "_parse_to" else None
        device = None if device is None else _device(device)
        if device is not None and device.type in {"cuda", "cpu"}:
            made = _within(device, func, *args, **kwargs | {"device": _CPU})
            if isinstance(made, torch.Tensor) and made.device != device:  # made outside of the operators
                _count_copy(made, _CPU, device)
                return _put(made, device)
            return made
        there = next((each for each in _tensors((args, kwargs)) if each.is_cuda), None)
        return func(*args, **kwargs) if there is None else _within(there.device, func, *args, **kwargs)


def _within(target: torch.device | None, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The result of ``func``, whose operators make tensors on ``target``."""
    before, _local().target = _local().target, target
    try:
        return func(*args, **kwargs)
    finally:
        _local().target = before


def _become(tensor: Any, device: torch.device) -> None:
    """Move ``tensor``, the same object, as its values are on ``device`` now."""
    tensor._is_param = isinstance(tensor, torch.nn.Parameter)
    tensor.__class__ = OnDevice if device.type == "cuda" else torch.Tensor
    tensor.place = device


def _moved(func: Any, own: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    copy, dtype = kwargs.pop("copy", False), own.dtype
    if func is not torch.Tensor.to:
        device = _CPU if func is torch.Tensor.cpu else _device(kwargs.get("device", args[0] if args else None))
        non_blocking = kwargs.get("non_blocking", False)
    elif isinstance(other := (*args, kwargs.get("other"))[0], torch.Tensor):
        device, dtype, non_blocking = other.device, other.dtype, kwargs.get("non_blocking", False)
    else:
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
    device = own.device if device is None else _device(device)
    if device.type == "meta":
        return func(own, *args, **kwargs)
    copied = copy or device != own.device
    return _within(
        device, torch.Tensor.to, own, dtype=dtype or own.dtype, copy=copied, non_blocking=non_blocking and copied
    )


def _properties(_: Any = None) -> Any:
    return SimpleNamespace(name="simulated", total_memory=MEMORY, major=8, minor=0, multi_processor_count=1)


@contextmanager
def modes() -> Iterator[None]:
    with _Operators(), _Functions():
        yield


@contextmanager
def simulated(devices: int) -> Iterator[Counter[str]]:
    """Let PyTorch see this many ``devices`` in all threads; yields the counts."""
    run = threading.Thread.run

    def run_with_modes(self: threading.Thread) -> None:
        with modes():
            run(self)

    functions = {
        "is_available": lambda: devices > 0,
        "device_count": lambda: devices,
        "current_device": lambda: 0,
        "mem_get_info": lambda _=None: (MEMORY, MEMORY),
        "get_device_properties": _properties,
        "get_device_name": lambda _=None: "simulated",
        "get_device_capability": lambda _=None: (8, 0),
        "is_bf16_supported": lambda *_, **__: False,  # autocast of a device has no effect on tensors of the CPU
        "max_memory_allocated": lambda _=None: 0,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: current_stream(device).synchronize(),
        "Stream": Stream,
        "Event": Event,
        "stream": _on_stream,
        "current_stream": current_stream,
        "default_stream": lambda device=None: _default.setdefault(_device(device), Stream(device)),
    }
    accelerator = {
        "is_available": lambda: devices > 0,
        "device_count": lambda: devices,
        "current_accelerator": lambda *_, **__: torch.device("cuda"),
        "synchronize": functions["synchronize"],
        "current_stream": current_stream,
    }
    with ExitStack() as stack:
        for module, own in ((torch.cuda, functions), (torch.accelerator, accelerator)):
            for name, function in own.items():
                stack.enter_context(patch.object(module, name, function))
        stack.enter_context(patch.object(threading.Thread, "run", run_with_modes))
        stack.enter_context(modes())
        counts.clear()
        yield counts
