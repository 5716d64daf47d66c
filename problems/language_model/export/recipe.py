"""Files with which llama.cpp's quantiser makes the same .gguf file: types, and the importance of inputs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from evoprune.exports.exporting import about
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.base import Base
from evoprune.problems.language_model.gguf.recipe import write_importance
from evoprune.problems.language_model.transforms.gguf_types.importance import by_tensor

TYPES, IMPORTANCE = "evoprune.types.txt", "evoprune.imatrix.gguf"


def write_recipe(
    session: Session, genome: Sequence[float], base: Base, place: Path, kinds: Mapping[str, str]
) -> str | None:
    """Write files beside ``place``; return llama.cpp's command that gives a model the types ``kinds``, by tensor.

    None for a ``genome`` that changes more than types. The dense model is resident.
    """
    transform, texts = session.transform, session.texts
    if not transform.has_types or not transform.differ_in_types_only(genome, transform.dense):
        return None
    types, weighed = about(place, TYPES), about(place, IMPORTANCE)
    types.write_text("".join(f"{name}={kind}\n" for name, kind in kinds.items()), encoding="utf-8")
    command = ["llama-quantize", "--allow-requantize", "--tensor-type-file", types.name]
    if importance := by_tensor(session.resident, base, transform.importance):
        tokens = texts.calibration.tokens.numel() if texts.calibrates else 1
        write_importance(weighed, {name: each.numpy() for name, each in importance.items()}, tokens)
        command += ["--imatrix", weighed.name]
    return shlex.join([*command, "SOURCE.gguf", "OUT.gguf", "Q8_0"])
