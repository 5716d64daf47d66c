"""Places the tensors of a phase in memory or in mapped files, by the memory that is free when it begins."""

import mmap
import os
from dataclasses import dataclass
from math import prod
from tempfile import NamedTemporaryFile
from typing import Self

import torch

from evoprune import Stopped
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.device import free_memory, release_memory

_SHARE = 0.5  # of the free memory, for tensors that may be mapped: pages of a mapped model need some, too


@dataclass(frozen=True)
class Placement:
    """The place for tensors of a phase: the memory of ``device`` if ``resident``, else unnamed files."""

    device: torch.device
    resident: bool

    @classmethod
    def of(
        cls, phase: str, device: torch.device, tensors: float, fixed: float = 0.0, instead: str = "",
        share: float = _SHARE,
    ) -> Self:  # fmt: skip
        """Choose the place for ``tensors`` bytes of ``phase`` that may be mapped, next to ``fixed`` bytes in memory.

        Raises :class:`evoprune.Stopped` if the latter exceed the free memory; ``instead``: a remedy for the message.
        ``share``: of the remaining free memory that mappable tensors may use.
        """
        free = free_memory(device)
        if tensors > share * (free - fixed):
            release_memory(device)  # slow, so only if needed
            free = free_memory(device)
        if fixed > free:
            remedy = f", or {instead}" if instead else ""
            raise Stopped(
                f"{phase} takes about {fixed / 1e9:.1f} GB beside what is loaded, and {free / 1e9:.1f} GB are free on "
                f"{device}: nothing is lost; end other processes and continue{remedy}"
            )
        return cls(device, tensors <= share * (free - fixed))

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return an uninitialised tensor, on the CPU if it is mapped. Raises OSError if the disk is full."""
        if self.resident:
            return torch.empty(shape, dtype=dtype, device=self.device)
        count = prod(shape)
        with NamedTemporaryFile(dir=cache_folder()) as file:
            size = max(1, count * dtype.itemsize)
            if hasattr(os, "posix_fallocate"):  # without it a full disk kills the process later
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                os.ftruncate(file.fileno(), size)
            return torch.from_file(file.name, shared=True, size=count, dtype=dtype).view(shape)

    def copied(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return a copy of ``tensor`` in ``dtype``. Raises as :meth:`empty`."""
        if self.resident:
            return tensor.to(self.device, dtype, copy=True)
        return self.empty(tensor.shape, dtype).copy_(tensor)


def in_own_pages(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of ``tensor`` whose memory returns to the system when it is deleted; on a GPU the tensor itself.

    On the heap, copies of candidates and buffers of passes would leave gaps that fit neither, and it grows by half.
    """
    if tensor.device.type != "cpu" or not tensor.numel():
        return tensor
    pages = mmap.mmap(-1, tensor.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=tensor.dtype).view(tensor.shape).copy_(tensor)


TRAINING_BYTES = 16  # per parameter: float32 weight, gradient and two moments


def can_train(parameters: int, device: torch.device) -> bool:
    """Return True if ``device`` has free memory to train so many ``parameters``."""
    return Placement.of("training", device, TRAINING_BYTES * parameters).resident
