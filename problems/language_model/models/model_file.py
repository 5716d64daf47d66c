"""The interface of models that are one file, in a format that a plugin reads. Imports no torch.

A format is registered by the suffix of its files, in the group of entry points ``evoprune.model_files``. Its weights
are dequantised into a folder that transformers loads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprune.plugins import find_plugin
from evoprune.problems.language_model.models.settings import MODEL_FILES, ModelSettings, is_model_file

if TYPE_CHECKING:
    import torch

Check = Callable[[Any, Any], object]
"""Checks a model's tokenizer and config before its weights are read; raises :class:`evoprune.InputError`."""


@dataclass(frozen=True)
class Stored:
    """A tensor in a file. ``kind``: its type, as named by the format. ``shape``: rows first. ``bytes``: in the file."""

    kind: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


class ModelFile(ABC):
    """The model in the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def tensors(self) -> Mapping[str, Stored]:
        """The tensors in the header, by name. Raises :class:`evoprune.InputError` for an incomplete file."""

    @abstractmethod
    def fits_disk(self, dtype: torch.dtype) -> bool:
        """Tell whether the disk has space for the weights in ``dtype``."""

    @abstractmethod
    def as_folder(
        self, settings: ModelSettings, dtype: torch.dtype, check: Check | None
    ) -> AbstractContextManager[Path]:
        """Return a context with a temporary folder that transformers loads: the model, its weights in ``dtype``.

        Raises :class:`evoprune.InputError` for a model that cannot be read, or if ``check`` does.
        """


def model_file(model: str) -> ModelFile | None:
    """Return the model in a file of a registered format; None for a folder, and a name on the hub."""
    return find_plugin(MODEL_FILES, Path(model).suffix[1:])(Path(model)) if is_model_file(model) else None
