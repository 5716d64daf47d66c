"""What lies on one matrix of a resident model: its weights in a type, in the place of those beneath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from problems.gguf.ggml import Bytes
from problems.models.blocks import Matrix
from problems.transforms.gguf_types.levels import DENSE

Made = tuple[torch.Tensor, Bytes]
"""The values of a matrix in a type, as the layer stores them, and what a file holds."""


class Sheet:
    """``matrix`` and what lies on it now: nothing at first. ``kind``: its type; ``data``: what a file holds of it."""

    def __init__(self, model: Any, matrix: Matrix) -> None:
        self.matrix = matrix
        self.whole: Any = matrix.weight
        """The weight as it was loaded."""
        self.shape: tuple[int, ...] = tuple(matrix.rows(self.whole).shape)
        """Of that, rows first."""
        self.kind = DENSE
        self.data: Bytes | None = None
        self._users: list[Any] = [each for each in model.modules() if getattr(each, "weight", None) is self.whole]
        self._beneath = self._above = self.whole

    def lift(self) -> None:
        """Put back what lies beneath."""
        if self.matrix.weight is self._above:
            self._put(self._beneath)

    def lay(self, kind: str, make: Callable[[torch.Tensor], Made]) -> None:
        """Lie on the weight that is there now as ``kind``; ``make``: its values, new ones, of what lies beneath.

        They are made where the type, or what lies beneath, is another than before.
        """
        weight = self.matrix.weight
        beneath = self._beneath if weight is self._above else weight
        if kind != self.kind or beneath is not self._beneath:
            self.kind, self._beneath = kind, beneath
            if kind == DENSE:
                self._above, self.data = beneath, None
            else:
                values, self.data = make(beneath)
                self._above = nn.Parameter(values, requires_grad=False)
        self._put(self._above)

    def _put(self, weight: Any) -> None:
        if self.matrix.weight is not weight:
            for module in self._users:
                module.weight = weight
