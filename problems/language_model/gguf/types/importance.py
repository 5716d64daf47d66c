"""Importance of the inputs of matrices: mean squares on a text, or llama.cpp's importance matrix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import evoprune.problems.language_model.gguf as gguf
from evoprune import InputError
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, as_importance, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.matrices import specs_of
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.windows import Windows

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base

CPU = torch.device("cpu")


def cached_importance(resident: Resident, calibration: Windows) -> Tensors:
    """As :func:`measure_importance`, on the text ``calibration``, cached."""
    build = partial(measure_importance, resident, calibration.tokens)
    return cached(resident, "importance of inputs", cache_key(calibration), build, CPU)


def cache_key(calibration: Windows | None) -> list[object]:
    """Return the inputs, besides the model, of statistics on the text ``calibration``."""
    return [code(gguf), ggml.version(), *([calibration.identity] if calibration else [])]


def measure_importance(resident: Resident, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean square of each input of the blocks' matrices on ``tokens``, by matrix name: float32, on the CPU.

    Of stacked matrices ``(experts, in)``: over the tokens that chose an expert.
    """
    by_matrix = statistics(resident.model, tokens, resident.all_matrices, {INPUT_NORMS})
    return {matrix.name: as_importance(norms[INPUT_NORMS].square() / tokens.numel()) for matrix, norms in by_matrix}


def load_importance(path: Path, resident: Resident, base: Base) -> Tensors:
    """As :func:`measure_importance`, from llama.cpp's importance matrix ``path``.

    Raises :class:`evoprune.InputError` if it lacks a matrix of the blocks, or has one of another shape.
    """
    from evoprune.problems.language_model.gguf.recipe import read_importance

    by_tensor_name, importance = read_importance(path), {}
    in_blocks = {matrix.name for matrix in resident.all_matrices}
    for name, specs in specs_of(resident, base).items():
        squares, (*experts, _, width) = by_tensor_name.get(specs[0].name), specs[0].shape
        if squares is None:
            if name in in_blocks:
                raise InputError(f"has no importance of {specs[0].name}: is it of another model?", str(path))
            continue
        expected = (experts[0] if experts else 1, width)
        if squares.shape != expected:
            shapes = " x ".join(map(str, squares.shape)), " x ".join(map(str, expected))
            raise InputError(f"{specs[0].name} has {shapes[0]} inputs there, and {shapes[1]} in the model", str(path))
        importance[name] = as_importance(torch.from_numpy(squares if experts else squares[0]))
    return importance


def by_tensor(resident: Resident, base: Base, importance: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the ``importance`` of inputs, which is given by matrix, by the names of the tensors in a .gguf file."""
    specs = specs_of(resident, base)
    return {spec.name: own for name, own in importance.items() for spec in specs[name]}
