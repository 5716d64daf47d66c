"""What a .gguf file of a smaller model holds: its architecture in llama.cpp, its metadata, and its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gguf import LlamaFileType

from evoprune import InputError
from problems.gguf.base import Base, Fields, whole_number
from problems.gguf.names import LLAMA, Slot, find_slots, head_size, hidden_size
from problems.gguf.ragged import UNEVEN, Widths, filled, uneven_fields


@dataclass(frozen=True)
class Layout:
    """A file but for its numbers. Slots are in the order of the file."""

    architecture: str
    fields: Fields
    slots: Sequence[Slot]

    def with_kinds(self, kinds: Sequence[str]) -> Layout:
        """The same, its metadata naming the kind that most matrices have. ``kinds``: those of the matrices."""
        most = Counter(kinds).most_common(1)[0][0]
        known = LlamaFileType.__members__
        names = (f"ALL_{most}", f"MOSTLY_{most}", f"MOSTLY_{most}_M", "GUESSED")
        number = next(known[name] for name in names if name in known)
        given = {"general.file_type": whole_number(number), "general.quantization_version": whole_number(2)}
        return replace(self, fields={**self.fields, **given})


def lay_out(model: Any, base: Base) -> Layout:
    """The file of ``model`` as it is now. Raises :class:`evoprune.InputError` if llama.cpp has no such model."""
    slots = find_slots(model, base.architecture)
    architecture, fields, added = arranged(blocks_of(slots), base, hidden_size(model), head_size(model))
    return Layout(architecture, fields, [*slots, *added])


def arranged(
    blocks: Sequence[Mapping[str, Slot]], base: Base, hidden: int, size: int
) -> tuple[str, Fields, Sequence[Slot]]:
    """The architecture of a file with these ``blocks``, its metadata, and the slots to add.

    ``blocks``: the slots of each, by their names within it. ``hidden``: the width of hidden states; ``size``: of a
    head. Raises :class:`evoprune.InputError` if llama.cpp has no such model.
    """
    widths = [Widths.of(block, size) for block in blocks]
    even = len({tuple(sorted((name, slot.shape) for name, slot in block.items())) for block in blocks}) == 1
    if even and (widths[0].whole or base.architecture != LLAMA):
        return base.architecture, _even_fields(base, blocks[0], widths[0], len(blocks), size), []
    if base.architecture != LLAMA:
        raise InputError(
            f"its blocks differ in shape, and llama.cpp has no form of {base.architecture} for that: export it to a "
            "folder, or search whole blocks, or one width for all of them (genes: block, genes: model)",
            "problem.transforms",
        )
    added, widths = filled(widths, hidden, size)
    return UNEVEN, uneven_fields(base.fields, widths, size), added


def blocks_of(slots: Sequence[Slot]) -> list[dict[str, Slot]]:
    """The slots of each block, by their names within it."""
    blocks: dict[int, dict[str, Slot]] = {}
    for slot in slots:
        if slot.name.startswith("blk."):
            _, number, name = slot.name.split(".", 2)
            blocks.setdefault(int(number), {})[name] = slot
    return [blocks[number] for number in sorted(blocks)]


_SIZED_HEADS = ("llama", "qwen3")
"""Architectures whose heads are as wide in llama.cpp as the file says; others divide the width by their number."""


def _no_fewer_heads(architecture: str) -> InputError:
    return InputError(
        f"llama.cpp's {architecture} cannot have fewer heads: export it to a folder", "problem.transforms"
    )


def _even_fields(base: Base, block: Mapping[str, Slot], widths: Widths, count: int, size: int) -> Fields:
    name = base.architecture
    given = {f"{name}.block_count": count}
    if widths.channels:
        given[f"{name}.feed_forward_length"] = widths.channels
    if widths.heads:
        given |= {f"{name}.attention.head_count": widths.heads, f"{name}.attention.head_count_kv": widths.groups}
        if base.fields[f"{name}.attention.head_count"].value != widths.heads:
            if name not in _SIZED_HEADS:
                raise _no_fewer_heads(name)
            given |= {f"{name}.attention.key_length": size, f"{name}.attention.value_length": size}
    elif block["attn_output.weight"].shape[0] != block["attn_output.weight"].shape[1]:
        raise _no_fewer_heads(name)
    return {**base.fields, **{key: whole_number(value) for key, value in given.items()}}
