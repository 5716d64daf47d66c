"""The interface of the forms in which a smaller model is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evoprune import Exported
from problems.evaluation.session import Session
from problems.export.settings import ExportOptions


@dataclass(frozen=True)
class ExportFormat(ABC):
    """Writes the model of ``genome`` in one form.

    A form of one file is registered under ``evoprune.export_formats``, by the suffix of such files.
    """

    session: Session
    genome: Sequence[float]
    options: ExportOptions

    @abstractmethod
    def check(self) -> None:
        """Raise :class:`evoprune.InputError` for what :meth:`write` would refuse: a recovery calls it before it trains.

        May make the model of ``genome`` resident.
        """

    @abstractmethod
    def write(
        self, result: Mapping[str, Any], place: Path, recovered: Mapping[str, torch.Tensor] | None = None
    ) -> Exported:
        """Write the model to ``place``, and check what was written. Raises :class:`evoprune.InputError`.

        ``result``: the run's, with the inputs that the model must have. ``place``: see
        :meth:`evoprune.Exporting.export`. ``recovered``: the model's weights by name, if it was recovered as
        ``result`` says.
        """
