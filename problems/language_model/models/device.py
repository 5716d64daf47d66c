"""Devices, number formats and free memory; computing in threads and in other processes."""

import ctypes
import gc
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from evoprune import InputError
from evoprune.plugins import HOME

_GROUPS = (("", "memory.max", "anon"), ("memory", "memory.limit_in_bytes", "total_rss"))
"""Versions 2 and 1 of control groups: the controller, the file of the limit, the entry of ``memory.stat`` in use."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h

_SHARE = 0.5  # of the free memory, for all threads

Work = TypeVar("Work")
Result = TypeVar("Result")


def accelerators() -> list[str]:
    """Return the names of this machine's accelerators, all of one kind, such as ``cuda:0``."""
    if not torch.accelerator.is_available():
        return []
    return [f"{torch.accelerator.current_accelerator()}:{number}" for number in range(torch.accelerator.device_count())]


def pick_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is the accelerator, or the CPU if there is none."""
    available = accelerators()
    if name == "auto":
        name = available[0].partition(":")[0] if available else "cpu"
    device = torch.device(name)
    if device.type != "cpu" and f"{device.type}:{device.index or 0}" not in available:
        seen = ", ".join(available) or "no accelerator"
        raise InputError(f"no '{name}', PyTorch sees {seen}; use auto or cpu", "problem.device")
    return device


def function_of(device: torch.device, name: str) -> Callable[..., Any] | None:
    """Return PyTorch's function ``name``, such as ``mem_get_info``, for the kind of ``device``.

    None for the CPU, and if the kind has no such function.
    """
    return None if device.type == "cpu" else getattr(torch.get_device_module(device), name, None)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype called ``name``; ``auto`` is bfloat16 if ``device`` has units for it, else float32."""
    if name != "auto":
        return getattr(torch, name)  # type: ignore[no-any-return]
    if device.type == "cpu":
        fast = has_bfloat16_units()
    else:
        supported = function_of(device, "is_bf16_supported")
        fast = supported is not None and supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def dtype_of(model: Any) -> str:
    """Return the name of the dtype of ``model``, such as ``float32``."""
    return str(model.dtype).removeprefix("torch.")


def sum_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of sums: float64, or float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def follow_threads() -> None:
    """Set the number of threads to OMP_NUM_THREADS, which PyTorch reads only on import."""
    count = os.environ.get("OMP_NUM_THREADS", "")
    if count.isdecimal() and int(count):
        torch.set_num_threads(int(count))


def has_bfloat16_units() -> bool:
    """Tell whether this processor multiplies bfloat16 numbers."""
    units = _cpu_units()
    return any(units.get(name) for name in ("amx_bf16", "avx512_bf16"))


def _cpu_units() -> dict[str, Any]:
    """Return the capabilities of the CPU by PyTorch; old versions report none."""
    return getattr(torch.cpu, "get_capabilities", dict)()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory: new pages for each pass's buffers cost a fifth of an evaluation on a CPU."""
    if libc := _glibc():
        libc.malloc_trim(0)  # memory freed after loading the model
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)  # arenas of threads ignore these thresholds


def free_memory(device: torch.device) -> float:
    """Return the free bytes on ``device``; infinity if unknown."""
    if info := function_of(device, "mem_get_info"):
        return float(info(device)[0])
    with suppress(OSError, ValueError), Path("/proc/meminfo").open(encoding="ascii") as lines:
        sizes = dict(line.split(":") for line in lines)
        return min(1024.0 * int(sizes["MemAvailable"].split()[0]), _left_by_group())
    with suppress(OSError, ValueError, AttributeError):  # macOS reports only the total
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return float("inf")


def total_memory(device: torch.device) -> float | None:
    """Return the bytes of memory of ``device``; None for the CPU, and if unknown."""
    if properties := function_of(device, "get_device_properties"):
        return float(properties(device).total_memory)
    recommended = function_of(device, "recommended_max_memory")  # of MPS, which shares the system's
    return float(recommended()) if recommended else None


def _left_by_group() -> float:
    """Return the free bytes within the limit of this process's control group, of a container say; infinity without one.

    Pages of files count as free: the system reclaims them.
    """
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        groups = {controllers: place for _, controllers, place in (line.split(":", 2) for line in lines)}
        for controller, limit, used in _GROUPS:
            folder = Path("/sys/fs/cgroup", controller, groups.get(controller, "").lstrip("/"))
            if (folder / limit).is_file():
                lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                statistics = dict(line.split() for line in lines)
                return float((folder / limit).read_text(encoding="ascii")) - int(statistics[used])
    return float("inf")


def release_memory(device: torch.device) -> None:
    """Free unused memory, including models in reference cycles, so that :func:`free_memory` counts it."""
    gc.collect()
    if empty_cache := function_of(device, "empty_cache"):
        empty_cache()
    elif libc := _glibc():
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    """Return the GNU C library; None if the system has another one."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        if libc.malloc_trim and libc.mallopt:
            return libc
    return None


def processor_name(device: torch.device) -> str:
    """Return the name of the GPU or CPU."""
    if name := function_of(device, "get_device_name"):
        return str(name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rounding(device: torch.device) -> list[object]:
    """Return everything on which the rounding of sums on ``device`` depends: equal lists mean equal bits."""
    of_cpu = [torch.get_num_threads(), sorted(_cpu_units().items())] if device.type == "cpu" else []
    return [torch.__version__, device.type, processor_name(device), *of_cpu]


def out_of_memory(error: RuntimeError) -> bool:
    """Tell whether ``error`` means that a device is out of memory; only CUDA's allocator has a class for it."""
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)


def fitting_threads(device: torch.device, nbytes: float) -> int:
    """Return the number of threads, each with ``nbytes``, that fit the memory of ``device``; 1 if it is no CPU."""
    fitting = _SHARE * free_memory(device) / nbytes
    return max(1, int(min(fitting, torch.get_num_threads()))) if device.type == "cpu" else 1


def map_in_threads(
    function: Callable[[Work], Result], works: Sequence[Work], most: int | None = None
) -> Iterator[Result]:
    """``map(function, works)`` in ``most`` threads (default: as many as PyTorch would use for one call).

    A single item is computed by all threads together, but if ``most`` is above 1, by one, so that rounding is the same.
    Threads with an item each do not wait for each other, unlike threads that share a product.
    """
    before = torch.get_num_threads()
    threads = min(most or before, len(works))
    if (most or threads) == 1:
        yield from map(function, works)
        return
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    torch.set_num_threads(1)  # of this thread, and of MKL in all
    try:
        with ThreadPoolExecutor(threads, initializer=_begin, initargs=autocast) as pool:
            yield from pool.map(function, works)
    finally:
        torch.set_num_threads(before)


def _begin(autocast: bool, dtype: torch.dtype) -> None:
    """Give a thread the settings of the thread that started it."""
    torch.set_num_threads(1)
    torch.set_autocast_enabled("cpu", autocast)
    torch.set_autocast_dtype("cpu", dtype)


class ProcessFailed(Exception):
    """The failure of a process; its message is the last line of ``log``, the whole stderr or the exit code."""

    def __init__(self, log: str) -> None:
        super().__init__(log.splitlines()[-1])
        self.log = log


def run_python(*arguments: str, timeout: float = math.inf, **options: Any) -> dict[str, Any]:
    """Run ``python`` with ``arguments`` and return the JSON that it prints; ``options``: of ``subprocess.run``.

    Raises :class:`ProcessFailed`, also after ``timeout`` seconds.
    """
    limit = timeout if timeout < math.inf else None
    try:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=limit, **options)
    except subprocess.TimeoutExpired as error:
        raise ProcessFailed(f"stopped after {error.timeout:.0f} s, as no time is left") from None
    if done.returncode:
        raise ProcessFailed(done.stderr.strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def environment() -> dict[str, str]:
    """Return the environment variables of a process that imports the same evoprune as this one."""
    home = str(HOME.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))}
