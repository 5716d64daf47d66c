"""Files of llama.cpp's quantiser: recipes, which name the type of each tensor, and importance matrices. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evoprune import InputError
from evoprune.problems.language_model.gguf.ggml import Floats
from evoprune.problems.language_model.gguf.reader import read_gguf

_SUMS, _COUNTS = ".in_sum2", ".counts"
"""Endings of the tensors of an importance matrix: the sums of squared inputs, and the number of inputs."""


class TensorTypes:
    """The types in the file ``path`` for ``llama-quantize --tensor-type-file``: entries ``PATTERN=TYPE``.

    Raises :class:`evoprune.InputError` for any other file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._types = path, list[tuple[re.Pattern[str], str]]()
        try:
            for entry in path.read_text("utf-8").split():
                pattern, _, kind = entry.partition("=")
                if not pattern or not kind:
                    raise InputError(f"'{entry[:40]}': expected PATTERN=TYPE, such as attn_v=Q6_K", str(path))
                self._types.append((re.compile(pattern.lower()), kind.upper()))
        except (OSError, UnicodeError, re.error) as error:
            raise InputError(f"cannot be read: {error}", str(path)) from None

    def kind(self, tensor: str) -> str:
        """Return the type of the first pattern that occurs in the name ``tensor``. Raises InputError if none does."""
        if kind := next((kind for pattern, kind in self._types if pattern.search(tensor)), None):
            return kind
        raise InputError(f"names no type for {tensor}: is it a recipe of another model?", str(self.path))


def write_importance(path: Path, importance: Mapping[str, Floats], tokens: int) -> None:
    """Write mean squared inputs by tensor, ``(in,)`` or ``(experts, in)``, over a number of ``tokens``."""
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", tokens)
    for name, means in importance.items():
        sums = means.reshape(-1, means.shape[-1]) * np.float32(tokens)
        writer.add_tensor(f"{name}{_SUMS}", sums)
        writer.add_tensor(f"{name}{_COUNTS}", np.full((len(sums), 1), tokens, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_importance(path: Path) -> dict[str, Floats]:
    """Return the mean squared inputs by tensor, ``(1, in)`` or ``(experts, in)``; 0 for an expert without input.

    Raises :class:`evoprune.InputError` for a file that ``llama-imatrix`` did not write.
    """
    tensors = read_gguf(path).tensors
    values = {name: tensor.data.view(np.float32) for name, tensor in tensors.items() if tensor.kind == "F32"}
    sums = {name.removesuffix(_SUMS): array for name, array in values.items() if name.endswith(_SUMS)}
    if not sums or {f"{name}{_COUNTS}" for name in sums} - values.keys():
        raise InputError("is no importance matrix of llama.cpp: expected a .gguf file of llama-imatrix", str(path))
    counts = {name: np.maximum(values[f"{name}{_COUNTS}"].reshape(-1, 1), np.float32(1)) for name in sums}
    return {name: (array / counts[name]).astype(np.float32) for name, array in sums.items()}
