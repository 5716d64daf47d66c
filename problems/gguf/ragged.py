"""Llama models whose blocks differ in width, in the form that llama.cpp has for them: the architecture ``deci``.

It was made for the models of NVIDIA that a search made smaller (Puzzle, Bercovich et al., 2024): widths for each block,
and blocks without attention. llama.cpp does not run the attention of a block that has no MLP, and does not load a first
block without attention, so that these get a few channels, or one head, of zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gguf import GGUFValue, GGUFValueType

from problems.gguf.base import Fields, whole_number
from problems.gguf.names import LLAMA, Slot

UNEVEN = "deci"

_CHANNELS = 32
"""The fewest channels whose rows fit quantised kernels."""


@dataclass(frozen=True)
class Widths:
    """Of one block: its heads, its heads of keys and values, and the channels of its MLP."""

    heads: int
    groups: int
    channels: int

    @classmethod
    def of(cls, block: Mapping[str, Slot], size: int) -> Widths:
        """Read from the shapes of the tensors of ``block``, with heads of ``size``; 0 for what it does not have."""
        heads, groups = (block[name].shape[0] // size if name in block else 0 for name in _ATTENTION)
        return cls(heads, groups, block[_DOWN].shape[1] if _DOWN in block else 0)

    @property
    def whole(self) -> bool:
        """Whether the block has both its attention and its MLP."""
        return bool(self.heads and self.channels)


_ATTENTION, _DOWN = ("attn_q.weight", "attn_k.weight"), "ffn_down.weight"
"""The last one, as in some models ``ffn_up`` holds the gate too."""


def filled(widths: Sequence[Widths], hidden: int, size: int) -> tuple[list[Slot], list[Widths]]:
    """The tensors to add so that llama.cpp runs the blocks ``widths`` as they are, and the widths then."""
    slots, now = [], list(widths)
    for number, found in enumerate(widths):
        if not found.channels:
            slots += _of_zeros(number, "ffn_norm", {"ffn_gate": 0, "ffn_up": 0, "ffn_down": 1}, hidden, _CHANNELS)
            now[number] = replace(found, channels=_CHANNELS)
    if not widths[0].heads:
        slots += _of_zeros(0, "attn_norm", {"attn_q": 0, "attn_k": 0, "attn_v": 0, "attn_output": 1}, hidden, size)
        now[0] = replace(now[0], heads=1, groups=1)
    return slots, now


def _of_zeros(block: int, norm: str, matrices: Mapping[str, int], hidden: int, width: int) -> list[Slot]:
    """A sublayer that gives zeros. ``matrices``: 0 for those that read the hidden states, 1 for the one written to."""
    shapes = {0: (width, hidden), 1: (hidden, width)}
    named = {name: (shapes[way], 0.0) for name, way in matrices.items()} | {norm: ((hidden,), 1.0)}
    return [Slot(f"blk.{block}.{name}.weight", shape, None, fill=fill) for name, (shape, fill) in named.items()]


def uneven_fields(fields: Fields, widths: Sequence[Widths], size: int) -> Fields:
    """The metadata of a Llama model whose blocks have these ``widths``, and heads of ``size``."""
    old = f"{LLAMA}."
    own = {(f"{UNEVEN}.{key.removeprefix(old)}" if key.startswith(old) else key): at for key, at in fields.items()}
    plain = {"block_count": len(widths), "attention.key_length": size, "attention.value_length": size}
    arrays = {
        "attention.head_count": [found.heads for found in widths],
        "attention.head_count_kv": [found.groups for found in widths],
        "feed_forward_length": [found.channels for found in widths],
    }
    given: dict[str, Any] = {key: whole_number(value) for key, value in plain.items()}
    given |= {key: GGUFValue(value, GGUFValueType.ARRAY, GGUFValueType.INT32) for key, value in arrays.items()}
    given["rope.dimension_count"] = whole_number(size)
    return {**own, **{f"{UNEVEN}.{key}": value for key, value in given.items()}}
