"""The importance of the inputs of matrices: their mean squares on a text, or from llama.cpp's importance matrix."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from evoprune import InputError
from evoprune.problems.language_model import gguf
from evoprune.problems.language_model.calibration.statistics import INPUT_NORMS, as_importance, statistics
from evoprune.problems.language_model.calibration.tensor_cache import Tensors, cached, code
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms import gguf_types
from evoprune.problems.language_model.transforms.gguf_types.matrices import slots_of

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base

CPU = torch.device("cpu")


def importance_on(resident: Resident, calibration: Windows) -> Tensors:
    """As :func:`importance_of`, on the text ``calibration``: cached, as other runs may have other types."""
    made = partial(importance_of, resident, calibration.tokens)
    return cached(resident, "importance of inputs", cache_key(calibration), made, CPU)


def cache_key(calibration: Windows | None) -> list[object]:
    """All that statistics on the text ``calibration`` depend on, but for the model."""
    return [code(gguf_types, gguf), ggml.version(), *([calibration.identity] if calibration else [])]


def importance_of(resident: Resident, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mean square of each input of the blocks' matrices on ``tokens``, by their names; float32, on the CPU.

    Of stacked ones ``(experts, in)``, over the tokens that chose an expert.
    """
    known = statistics(resident.model, tokens, resident.with_stacks, {INPUT_NORMS})
    return {matrix.name: as_importance(found[INPUT_NORMS].square() / tokens.numel()) for matrix, found in known}


def importance_in(path: Path, resident: Resident, base: Base) -> Tensors:
    """As :func:`importance_of`, from llama.cpp's importance matrix ``path``.

    Raises :class:`evoprune.InputError` where it lacks a matrix of the blocks, or has one of another shape.
    """
    from evoprune.problems.language_model.gguf.recipe import read_importance

    known, found = read_importance(path), {}
    in_blocks = {matrix.name for matrix in resident.with_stacks}
    for name, slots in slots_of(resident, base).items():
        own, (*experts, _, width) = known.get(slots[0].name), slots[0].shape
        if own is None:
            if name in in_blocks:
                raise InputError(f"has no importance of {slots[0].name}: is it of another model?", str(path))
            continue
        expected = (experts[0] if experts else 1, width)
        if own.shape != expected:
            shapes = " x ".join(map(str, own.shape)), " x ".join(map(str, expected))
            raise InputError(f"{slots[0].name} has {shapes[0]} inputs there, and {shapes[1]} in the model", str(path))
        found[name] = as_importance(torch.from_numpy(own if experts else own[0]))
    return found


def by_tensor(resident: Resident, base: Base, importance: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the ``importance`` of inputs, given by matrix, by the name of the tensor in a .gguf file."""
    within = slots_of(resident, base)
    return {slot.name: each for name, each in importance.items() for slot in within[name]}
