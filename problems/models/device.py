"""Chooses the device and number format of a model, and sets up the process for them."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""From glibc's malloc.h."""


def pick_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    Of several processes that accelerate's launcher started, each takes the GPU that is its own.
    Raises :class:`evoprune.InputError` if this machine lacks it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if name == "cuda" and (rank := os.environ.get("LOCAL_RANK")):
            name = f"cuda:{rank}"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"no '{name}', PyTorch sees {count} CUDA devices; use auto or cpu", "problem.device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("no 'mps' on this machine; use auto or cpu", "problem.device")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype called ``name``; ``auto`` is bfloat16 if ``device`` has fast units for it, else float32."""
    if name != "auto":
        return getattr(torch, name)  # type: ignore[no-any-return]
    fast = {"cuda": _cuda_has_bfloat16, "cpu": _cpu_has_bfloat16}.get(device.type)
    return torch.bfloat16 if fast and fast(device) else torch.float32


def dtype_of(model: Any) -> str:
    """The name of the dtype of ``model`` in settings and protocols, such as ``float32``."""
    return str(model.dtype).removeprefix("torch.")


def device_of(model: Any) -> str:
    """The device of ``model`` in protocols: ``cpu``; a GPU with its card's name, because kernels differ by card."""
    device = model.device
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def sum_dtype(device: torch.device) -> torch.dtype:
    """The dtype of sums: float64, or float32 on MPS, which has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def follow_threads() -> None:
    """Set the number of threads to the present OMP_NUM_THREADS.

    PyTorch reads it only when it is imported, and that happens before the number is decided, to list the devices.
    """
    count = os.environ.get("OMP_NUM_THREADS", "")
    if count.isdecimal() and int(count):
        torch.set_num_threads(int(count))


def has_amx() -> bool:
    """Whether this processor multiplies bfloat16 matrices in tiles."""
    return _cpu_has("amx_bf16")


def _cpu_has_bfloat16(_: torch.device) -> bool:
    return has_amx() or _cpu_has("avx512_bf16")


def _cpu_has(unit: str) -> bool:
    return bool(_cpu_units().get(unit))


def _cpu_units() -> dict[str, Any]:
    """As PyTorch reports; nothing for old versions that do not report it."""
    units: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return units()


def _cuda_has_bfloat16(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere brought the units


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, instead of returning it to the kernel each time.

    A forward pass frees and allocates the same buffers thousands of times; new pages for each
    cost a fifth of the whole evaluation on a CPU. Only glibc needs this.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim(0)  # memory freed after loading the model
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)  # what threads have of their own is returned in spite of these thresholds
    except (OSError, AttributeError):  # another C library: evaluations are only slower
        return


def free_memory(device: torch.device) -> float:
    """The bytes that may be taken on ``device``; endless where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    with suppress(OSError, ValueError), Path("/proc/meminfo").open(encoding="ascii") as lines:
        found = dict(line.split(":") for line in lines)
        return 1024.0 * int(found["MemAvailable"].split()[0])
    with suppress(OSError, ValueError, AttributeError):  # macOS says only how much there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2
    return float("inf")


def release_memory(device: torch.device) -> None:
    """Give back what is no longer used, so that :func:`free_memory` counts it: models are in cycles of references."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def processor_name(device: torch.device) -> str:
    """The name of the GPU or CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def rounding(device: torch.device) -> list[object]:
    """What the rounding of sums on ``device`` depends on: equal lists mean equal bits."""
    of_cpu = [torch.get_num_threads(), sorted(_cpu_units().items())] if device.type == "cpu" else []
    return [torch.__version__, device.type, processor_name(device), *of_cpu]


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device has no memory left. PyTorch has a class for CUDA's allocator; others are told by their text."""
    words = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
