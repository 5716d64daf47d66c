"""The state of a recovery on disk, as safetensors and JSON: complete, or not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from evoprune import CHECKPOINT, InputError, read_json, write_json
from problems.models.tensor_file import Tensors, disk_errors

_STATE, _TENSORS, _BEST, _PLAN = "state.json", "tensors.safetensors", "best.safetensors", "plan.json"


class Checkpoints:
    """Keeps the newest checkpoint and the best weights in ``folder``, which is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Replace the checkpoint by that after ``step``. Raises OSError where the disk is full."""
        whole, part = self._folder / f"{CHECKPOINT}{step}", self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        write_tensors(part / _TENSORS, tensors)
        write_json(part / _STATE, state)
        before = self._found()
        if whole in before:
            return
        part.rename(whole)
        _sync(self._folder)
        for old in before:
            shutil.rmtree(old)

    def read(self) -> tuple[dict[str, Any], Tensors] | None:
        """The newest state and tensors; None where there is none. Raises :class:`evoprune.InputError`."""
        found = self._found()
        if not found:
            return None
        return read_json(found[-1] / _STATE), read_tensors(found[-1] / _TENSORS)

    def write_best(self, tensors: Tensors) -> None:
        """Replace the best weights."""
        write_tensors(self._folder / _BEST, tensors)

    def best(self) -> Tensors:
        """The best weights."""
        return read_tensors(self._folder / _BEST)

    def plan(self, steps: int, train: str) -> None:
        """Note the number of steps, and what is trained: neither must change when the recovery goes on."""
        write_json(self._folder / _PLAN, {"steps": steps, "train": train})

    def planned(self) -> dict[str, Any] | None:
        """``steps`` and ``train``, as they were noted."""
        path = self._folder / _PLAN
        return read_json(path) if path.exists() else None

    def _found(self) -> list[Path]:
        return sorted(self._folder.glob(f"{CHECKPOINT}*"), key=lambda path: int(path.name.removeprefix(CHECKPOINT)))


class NoCheckpoints(Checkpoints):
    """Keeps nothing: of a training that is short enough to be made again."""

    def __init__(self) -> None:
        """There is no folder."""

    def write(self, step: int, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Keep nothing."""

    def read(self) -> None:
        """None."""

    def write_best(self, tensors: Tensors) -> None:
        """Keep nothing."""

    def plan(self, steps: int, train: str) -> None:
        """Keep nothing."""

    def planned(self) -> None:
        """None."""


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write ``tensors`` so that ``path`` holds what it held or all of them. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    try:
        with disk_errors(path):
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part)
        _sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)  # a full disk needs its room
    _sync(path.parent)


def read_tensors(path: Path) -> Tensors:
    """The tensors in ``path``, in main memory. Raises :class:`evoprune.InputError`."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot be read: {error}", str(path)) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
