"""The state of a training on disk, in files that are complete or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune.files.json_files import read_json, write_json
from evoprune.interfaces.export import CHECKPOINT
from evoprune.problems.language_model.models.tensor_file import Tensors, read_checked, replace_file

_LAST, _BEST, _PLAN = f"{CHECKPOINT}last.safetensors", "best.safetensors", "plan.json"


class Checkpoints:
    """The last checkpoint and the best weights, in ``folder``, which is made.

    With None nothing is kept, for a training so short that it can be repeated.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, state: Mapping[str, Any], tensors: Tensors) -> None:
        """Replace the checkpoint. ``state``: JSON-able. Raises OSError if the disk is full."""
        if self._folder:
            replace_file(self._folder / _LAST, tensors, {"state": json.dumps(state, allow_nan=False)})

    def read(self) -> tuple[dict[str, Any], Tensors] | None:
        """Return the state and the tensors of the checkpoint, if there is one."""
        if self._folder is None or not (self._folder / _LAST).exists():
            return None
        tensors, about = read_checked(self._folder / _LAST)
        return json.loads(about["state"]), tensors

    def write_best(self, tensors: Tensors) -> None:
        """Replace the best weights."""
        if self._folder:
            replace_file(self._folder / _BEST, tensors)

    def best(self) -> Tensors:
        """Read the best weights."""
        assert self._folder
        return read_checked(self._folder / _BEST)[0]

    def plan(self, steps: int, train: str) -> None:
        """Write the number of steps and the trained parameters, which stay the same if the recovery is resumed."""
        if self._folder:
            write_json(self._folder / _PLAN, {"steps": steps, "train": train})

    def planned(self) -> dict[str, Any]:
        """Read the ``steps`` and ``train`` of :meth:`plan`; empty before that."""
        path = self._folder and self._folder / _PLAN
        return read_json(path) if path and path.exists() else {}
