"""The headers of a model's files. Imports no torch."""

from __future__ import annotations

from functools import cached_property

from evoprune.problems.language_model.models.settings import ModelSettings, is_model_file
from evoprune.problems.language_model.models.weight_files import bytes_of, stored_tensors, weight_files


class Headers:
    """The ``tensors`` in the files of a model by name, and the ``bytes`` of the files; none if it is not here.

    ``is_file``: the model is one file of a registered format.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Raise :class:`evoprune.InputError` for a file that is not whole."""
        files = weight_files(settings)
        self.settings, self.is_file = settings, is_model_file(settings.model)
        self.tensors = {name: each for path in files for name, each in stored_tensors(path).items()}
        self.bytes = bytes_of(files)
        heads = () if self.is_file else ("lm_head.", "embed_out.")  # which may be the embedding
        matrices = {name: each for name, each in self.tensors.items() if len(each.shape) > 1}
        self.matrices = {name: each for name, each in matrices.items() if not name.startswith(heads)}

    @cached_property
    def weights(self) -> int:
        """The number of values in all tensors."""
        return sum(each.size for each in self.tensors.values())
