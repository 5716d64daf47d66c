"""The types in which a .gguf file of a genome's model stores its matrices, if a transform or one of a stack has any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from problems.gguf.ggml import Encoded
from problems.transforms.overlay import Overlay
from problems.transforms.stack import Stack
from problems.transforms.transform import Transform


def overlay_of(transform: Transform) -> Overlay | None:
    """The transform, or the last of a stack, if it is an overlay."""
    last = transform.transforms[-1] if isinstance(transform, Stack) else transform
    return last if isinstance(last, Overlay) else None


def encoded(transform: Transform) -> Mapping[str, Encoded]:
    """The parameters that a .gguf file of the model as it is now holds in a quantised type, by their names."""
    overlay = overlay_of(transform)
    return overlay.encoded() if overlay else {}


def encode(transform: Transform, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
    """Quantise the weights of ``model``, a trained one of :func:`unencoded`, to the types of ``genome``.

    Returns as :func:`encoded`, of that model; the resident model stays as it is.
    """
    if (overlay := overlay_of(transform)) is None:
        return {}
    return overlay.encode(model, genome[len(cutting(transform, genome)) :], lambda: transform.inputs_left(genome))


def unencoded(transform: Transform, genome: Sequence[float]) -> list[float]:
    """``genome`` with all matrices in 16 bits: its model is trained, and then encoded."""
    overlay = overlay_of(transform)
    return [*cutting(transform, genome), *(overlay.dense if overlay else ())]


def cutting(transform: Transform, genome: Sequence[float]) -> Sequence[float]:
    """The genes of ``genome`` that decide shapes: all but an overlay's, which are the last."""
    overlay = overlay_of(transform)
    return genome[: len(genome) - len(overlay.genes)] if overlay else genome


def base_of(transform: Transform) -> str | None:
    """The .gguf file of the dense model that the settings name, if they do: exports copy its tokenizer."""
    overlay = overlay_of(transform)
    return overlay.base if overlay else None
