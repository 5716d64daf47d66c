"""The matrices of a model in each type, made once and kept for all processes and runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import torch

from problems import gguf
from problems.calibration.activations import INPUT_NORMS
from problems.calibration.statistics import statistics
from problems.calibration.tensor_cache import Tensors, code, shared
from problems.gguf import ggml
from problems.models.blocks import Matrix
from problems.models.resident import Resident
from problems.texts.windows import Windows
from problems.transforms import gguf_types
from problems.transforms.gguf_types.levels import quantised
from problems.transforms.gguf_types.matrices import widths_of

_LEAST = 1e-6
"""Inputs count at least as this share of the mean one: ggml fails where a whole block of them has no weight."""


def stored_types(
    resident: Resident, matrices: Sequence[Matrix], kinds: Sequence[str], calibration: Windows | None
) -> Tensors:
    """What :func:`quantised` makes of ``matrices`` in each of ``kinds`` that fits one; on the CPU.

    ``calibration``: the text that says what inputs are worth; None for no importance.
    """
    what = [code(gguf_types, gguf), ggml.version(), *([calibration.identity] if calibration else [])]
    cpu = torch.device("cpu")  # all types of a model take some times its memory

    @cache
    def importance() -> Tensors:
        """Kept too, as other runs may have other types."""
        if calibration is None:
            return {}
        made = partial(importance_of, resident, calibration.tokens)
        return shared(resident, "importance of inputs", what, made, cpu)

    stored: Tensors = {}
    for kind in kinds:
        if any(ggml.fits(kind, width) for width in widths_of(matrices)):
            stored |= shared(
                resident,
                f"matrices in {kind}",
                what,
                lambda kind=kind: quantised(matrices, importance(), kind),  # type: ignore[misc]
                cpu,
            )
    return stored


def importance_of(resident: Resident, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """The mean square of each input of the blocks' matrices on ``tokens``, by their names; float32, on the CPU."""
    known = statistics(resident.model, tokens, resident.matrices, {INPUT_NORMS})
    squares = {matrix.name: found[INPUT_NORMS].square() / tokens.numel() for matrix, found in known}
    return {name: mean.clamp(min=_LEAST * float(mean.mean()) or 1.0).cpu() for name, mean in squares.items()}
