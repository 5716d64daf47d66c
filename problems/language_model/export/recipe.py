"""The types of a .gguf file and the importance of inputs, as llama.cpp's quantiser reads them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from evoprune.exports.exporting import about
from evoprune.problems.language_model.calibration.tensor_cache import Tensors

TYPES, IMPORTANCE = "evoprune.types.txt", "evoprune.imatrix.gguf"


def write_recipe(place: Path, kinds: Mapping[str, str], importance: Tensors, tokens: int) -> str:
    """Write files about ``place``, and return llama.cpp's command that gives a model the types ``kinds`` by tensor.

    ``importance``: mean squared inputs by tensor, ``(in,)`` or ``(experts, in)``, over so many ``tokens``; empty for
    none.
    """
    types, weighed = about(place, TYPES), about(place, IMPORTANCE)
    types.write_text("".join(f"{name}={kind}\n" for name, kind in kinds.items()), encoding="utf-8")
    command = ["llama-quantize", "--allow-requantize", "--tensor-type-file", types.name]
    if importance:
        _write_importance(weighed, importance, tokens)
        command += ["--imatrix", weighed.name]
    return shlex.join([*command, "SOURCE.gguf", "OUT.gguf", "Q8_0"])


def _write_importance(path: Path, importance: Tensors, tokens: int) -> None:
    writer = GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", tokens)
    for name, means in importance.items():
        sums = means.reshape(-1, means.shape[-1]).numpy() * np.float32(tokens)
        writer.add_tensor(f"{name}.in_sum2", sums)
        writer.add_tensor(f"{name}.counts", np.full((len(sums), 1), tokens, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
