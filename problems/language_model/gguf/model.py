"""Models in .gguf files. Imports torch only to load one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from evoprune.problems.language_model.gguf.reader import Tensor, read_gguf
from evoprune.problems.language_model.models.model_file import Check, ModelFile
from evoprune.problems.language_model.models.settings import ModelSettings

if TYPE_CHECKING:
    import torch


class GgufModel(ModelFile):
    """The model in a .gguf file."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return read_gguf(self.path).tensors

    def fits_disk(self, dtype: torch.dtype) -> bool:
        from evoprune.problems.language_model.gguf.loading import fits_disk

        return fits_disk(self.path, dtype)

    def as_folder(
        self, settings: ModelSettings, dtype: torch.dtype, check: Check | None
    ) -> AbstractContextManager[Path]:
        from evoprune.problems.language_model.gguf.loading import as_folder

        return as_folder(self.path, settings, dtype, check)
