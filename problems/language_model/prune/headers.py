"""Sizes that a model has and can have, by the headers of the model's files. Imports no torch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection
from functools import cached_property

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.reader import Tensor
from evoprune.problems.language_model.models.model_file import Stored
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import bytes_of, stored_tensors, weight_files
from evoprune.problems.language_model.prune.goals import FAST, SURE, Goal
from evoprune.problems.language_model.results.summary import megabytes

_TOKENS = 0.5  # share of the tokens that go before heads and channels do: half is little harm
_IN_BLOCK = re.compile(r"\.\d+\.")


class Headers:
    """The ``tensors`` in the files of a model by name, and the ``bytes`` of the files; none if it is not here."""

    def __init__(self, settings: ModelSettings) -> None:
        """Raise :class:`evoprune.InputError` for a file that is not whole."""
        files = weight_files(settings)
        self.settings, self.is_gguf = settings, settings.model.endswith(".gguf")
        self.tensors = {name: each for path in files for name, each in stored_tensors(path).items()}
        self.bytes = bytes_of(files)
        heads = () if self.is_gguf else ("lm_head.", "embed_out.")  # which may be the embedding
        matrices = {name: each for name, each in self.tensors.items() if len(each.shape) > 1}
        self._matrices = {name: each for name, each in matrices.items() if not name.startswith(heads)}

    @cached_property
    def weights(self) -> int:
        """The number of values in all tensors."""
        return sum(each.size for each in self.tensors.values())

    def least(self, tokens: int = 0) -> float:
        """Return about the bytes of the smallest .gguf file of types alone; 0 if there are no files.

        ``tokens``: rows of embedding and head, if tokens may be left out.
        """
        tensors = self.tensors.values()
        least = sum(4.0 * each.size for each in tensors if len(each.shape) == 1)
        least += sum(self._smallest(each) for each in self._matrices.values())
        if self.is_gguf:
            least += self.bytes - sum(each.data.nbytes for each in tensors if isinstance(each, Tensor))
        rows = sum(each.size for each in tensors if each.shape[:1] == (tokens,))
        return least * (1 - _TOKENS * rows / max(1, self.weights))

    @property
    def shrinking(self) -> float:
        """Bits of the matrices by their bits in the smallest of :data:`.goals.FAST`; 1 if it is no .gguf file."""
        matrices = [each for each in self._matrices.values() if isinstance(each, Tensor)]
        fast = sum(min(each.data.nbytes, self._smallest(each, FAST)) for each in matrices)
        return sum(each.data.nbytes for each in matrices) / fast if matrices else 1.0

    def refuse(self, goal: Goal, one_file: bool, *options: str) -> None:
        """Raise InputError if the model is so small already, or nothing makes it so small.

        ``options``: of the command line, for a command that is not refused.
        """
        if not self.tensors:
            return
        bits, in_bits = 8 / self.weights, goal.name == "bits"

        def shown(size: float) -> str:
            return f"{size * bits:.2f} bits a weight" if in_bits else megabytes(size + goal.other_bytes)

        limit = goal.value / bits if in_bits else goal.value
        if self.bytes <= limit:
            raise InputError(f"is met already: {self.settings.model} has {shown(self.bytes)}", goal.option)
        others = [each for name, each in self._matrices.items() if not _IN_BLOCK.search(name)]
        if sum(self._smallest(each) if one_file else 2.0 * each.size for each in others) <= limit:
            return
        if lacking := ggml.missing():
            raise InputError(f"is out of reach in 16 bits. {lacking}", goal.option)
        least = SURE * self.least()
        value = f"{math.ceil(10 * least * bits) / 10:g}" if in_bits else megabytes(least + goal.other_bytes)
        way = command(self.settings.model, goal.option, value, *options)
        raise InputError(f"is out of reach; about {shown(least)} is not: {way}", goal.option)

    def _smallest(self, matrix: Stored, kinds: Collection[str] = ggml.COMMON) -> float:
        """The bytes of ``matrix`` in the smallest of ``kinds``, or in 16 bits; in folders GPT-2's rows are columns."""
        widths = matrix.shape[-1:] if self.is_gguf else matrix.shape
        fitting = (ggml.bits(kind) for kind in kinds if any(ggml.fits(kind, width) for width in widths))
        return matrix.size / 8 * min(fitting, default=ggml.bits("F16"))


def command(model: str, option: str, value: str, *others: str) -> str:
    """Return the command line that makes a .gguf file of ``model``. ``value``: of ``option``, as people read it."""
    given = [option, re.sub("[, ]", "", value), *others]
    return shlex.join(["python", "-m", "evoprune", "prune", model, *given, "--out", "smaller.gguf"])
