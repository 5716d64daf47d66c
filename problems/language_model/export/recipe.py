"""The types of a .gguf file and the importance of inputs, as llama.cpp's quantiser reads them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from evoprune.exports.exporting import about
from evoprune.problems.language_model.calibration.tensor_cache import Tensors
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.names import slots_by_parameter
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.gguf_types.levels import importance_on
from evoprune.problems.language_model.transforms.gguf_types.matrices import typed_matrices

TYPES, IMPORTANCE = "evoprune.types.txt", "evoprune.imatrix.gguf"


def write_recipe(
    session: Session, genome: Sequence[float], base: Base, place: Path, kinds: Mapping[str, str]
) -> str | None:
    """Write files about ``place``, and return llama.cpp's command that gives a model the types ``kinds`` by tensor.

    None for a ``genome`` that changes more than types. The dense model of ``session`` is resident.
    """
    transform, texts = session.transform, session.texts
    if not transform.has_types or [*transform.shaping(genome)] != [*transform.shaping(transform.dense)]:
        return None
    types, weighed = about(place, TYPES), about(place, IMPORTANCE)
    types.write_text("".join(f"{name}={kind}\n" for name, kind in kinds.items()), encoding="utf-8")
    command = ["llama-quantize", "--allow-requantize", "--tensor-type-file", types.name]
    if texts.calibrates:
        importance = importance_on(session.resident, texts.calibration)
        _write_importance(weighed, by_tensor(session.resident, base, importance), texts.calibration.tokens.numel())
        command += ["--imatrix", weighed.name]
    return shlex.join([*command, "SOURCE.gguf", "OUT.gguf", "Q8_0"])


def by_tensor(resident: Resident, base: Base, importance: Tensors) -> Tensors:
    """Return the ``importance`` of inputs, given by matrix, by the name of the tensor in a .gguf file."""
    slots = slots_by_parameter(resident.model, base.architecture, base.forms)
    within = {matrix.name: slots[matrix.parameter] for matrix in typed_matrices(resident)}
    return {slot.name: importance[name] for name, own in within.items() for slot in own if name in importance}


def _write_importance(path: Path, importance: Tensors, tokens: int) -> None:
    """Write mean squared inputs by tensor, ``(in,)`` or ``(experts, in)``, over so many ``tokens``."""
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
