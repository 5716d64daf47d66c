"""The state of a recovery on disk, as safetensors and JSON: complete, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune import CHECKPOINT, read_json, write_json
from problems.models.tensor_file import Tensors, read_checked, replace_file, sync

_STATE, _TENSORS, _BEST, _PLAN = "state.json", "tensors.safetensors", "best.safetensors", "plan.json"


class Checkpoints:
    """The newest checkpoint and the best weights of one training, in ``folder``, which is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Replace the checkpoint by that after ``step``. Raises OSError if the disk is full."""
        whole, part = self._folder / f"{CHECKPOINT}{step}", self._folder / "part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        replace_file(part / _TENSORS, tensors)
        write_json(part / _STATE, state)
        before = self._found()
        if whole in before:
            return
        part.rename(whole)
        sync(self._folder)
        for old in before:
            shutil.rmtree(old)

    def read(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the newest state and tensors, if there are any. Raises :class:`evoprune.InputError`."""
        found = self._found()
        if not found:
            return None
        return read_json(found[-1] / _STATE), read_checked(found[-1] / _TENSORS)

    def write_best(self, tensors: Tensors) -> None:
        """Replace the best weights."""
        replace_file(self._folder / _BEST, tensors)

    def best(self) -> Tensors:
        """Read the best weights."""
        return read_checked(self._folder / _BEST)

    def plan(self, steps: int, train: str) -> None:
        """Write the number of steps and the trained parameters, which stay the same if the recovery is resumed."""
        write_json(self._folder / _PLAN, {"steps": steps, "train": train})

    def planned(self) -> dict[str, Any] | None:
        """Read the ``steps`` and ``train`` of :meth:`plan`."""
        path = self._folder / _PLAN
        return read_json(path) if path.exists() else None

    def _found(self) -> list[Path]:
        return sorted(self._folder.glob(f"{CHECKPOINT}*"), key=lambda path: int(path.name.removeprefix(CHECKPOINT)))


class NoCheckpoints(Checkpoints):
    """Keeps nothing, for a training so short that it can be repeated."""

    def __init__(self) -> None:
        pass

    def write(self, step: int, state: Mapping[str, Any], tensors: Tensors) -> None:
        pass

    def read(self) -> None:
        pass

    def write_best(self, tensors: Tensors) -> None:
        pass

    def plan(self, steps: int, train: str) -> None:
        pass

    def planned(self) -> None:
        pass
