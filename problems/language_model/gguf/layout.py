"""The layout of a .gguf file of a smaller model: its architecture in llama.cpp, its metadata, and its tensors.

Llama models whose blocks differ in width have the architecture ``deci``. It was made for the models of NVIDIA that a
search made smaller (Puzzle, Bercovich et al., 2024): widths for each block, and blocks without attention. llama.cpp
does not run the attention of a block that has no MLP, and does not load a first block without attention: such blocks
get a few channels, or one head, of zeros.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gguf import LlamaFileType

from evoprune import InputError
from evoprune.problems.language_model.gguf.base import Base, Fields, as_field
from evoprune.problems.language_model.gguf.names import (
    BLOCK,
    EXPERTS,
    LLAMA,
    TensorSpec,
    find_specs,
    head_size,
    hidden_size,
)
from evoprune.problems.language_model.models.blocks import find_mixtures

DECI = "deci"

_CHANNELS = 32  # the fewest channels whose rows fit quantised kernels

_SIZED_HEADS = ("llama", "qwen3", "qwen3moe", "gemma2", "gemma3")
"""Architectures whose files state the width of heads; others divide the width of hidden states by their number."""

_ATTENTION, _DOWN = ("attn_q.weight", "attn_k.weight"), "ffn_down.weight"
_OUTPUT = "attn_output.weight"
"""Tensors that show widths; not ``ffn_up``, which includes the gate in some models."""


@dataclass(frozen=True)
class Layout:
    """Architecture, metadata and tensors of a file, in its order, without values."""

    architecture: str
    fields: Fields
    specs: Sequence[TensorSpec]

    def with_kinds(self, kinds: Sequence[str]) -> Layout:
        """Return the layout whose metadata names the most common of ``kinds``, the types of the matrices."""
        most = Counter(kinds).most_common(1)[0][0]
        types = LlamaFileType.__members__
        names = (f"ALL_{most}", f"MOSTLY_{most}", f"MOSTLY_{most}_M", "GUESSED")
        number = next(types[name] for name in names if name in types)
        fields = {"general.file_type": as_field(int(number)), "general.quantization_version": as_field(2)}
        return replace(self, fields={**self.fields, **fields})


@dataclass(frozen=True)
class Widths:
    """The widths of a block: heads, heads of keys and values, channels of the MLP; 0 without any."""

    heads: int
    groups: int
    channels: int

    @classmethod
    def of(cls, block: Mapping[str, TensorSpec], size: int) -> Widths:
        """Return the widths of ``block``, by the shapes of the tensors, with heads of ``size``."""
        heads, groups = (block[name].shape[0] // size if name in block else 0 for name in _ATTENTION)
        return cls(heads, groups, block[_DOWN].shape[1] if _DOWN in block else 0)


def lay_out(model: Any, base: Base) -> Layout:
    """Return the layout of the file of ``model`` as it is now. Raises :class:`evoprune.InputError`."""
    specs = find_specs(model, base.architecture, base.conversions)
    blocks: dict[int, dict[str, TensorSpec]] = {}
    for spec in specs:
        if spec.name.startswith(BLOCK):
            _, number, name = spec.name.split(".", 2)
            blocks.setdefault(int(number), {})[name] = spec
    ordered = [blocks[number] for number in sorted(blocks)]
    architecture, fields, added = arrange(ordered, base, hidden_size(model), head_size(model))
    for mixture in find_mixtures(model):
        if mixture.active:
            fields = {**fields, f"{architecture}.expert_used_count": as_field(mixture.active)}
    return Layout(architecture, fields, [*specs, *added])


def arrange(
    blocks: Sequence[Mapping[str, TensorSpec]], base: Base, hidden: int, size: int
) -> tuple[str, Fields, Sequence[TensorSpec]]:
    """Return the architecture and metadata of a file with ``blocks``, and specs to add.

    ``blocks``: specs by name within the block. ``hidden``: the width of hidden states; ``size``: of a head. Raises
    :class:`evoprune.InputError` if llama.cpp cannot run such blocks.
    """
    if base.mixed_attention and len(blocks) != base.fields[f"{base.architecture}.block_count"].value:
        why = f"llama.cpp's {base.architecture} has attentions of two kinds in a fixed order: no block can be left out"
        raise InputError(f"{why}; export it to a folder, or remove heads and channels", "problem.transforms")
    widths = [Widths.of(block, size) for block in blocks]
    even = len({tuple(sorted((name, spec.shape) for name, spec in block.items())) for block in blocks}) == 1
    whole = widths[0].heads and widths[0].channels
    if even and (whole or base.architecture != LLAMA):
        return base.architecture, _even_fields(base, blocks[0], widths[0], len(blocks), size), []
    if base.architecture != LLAMA:
        why = f"its blocks differ in shape, and llama.cpp has no form of {base.architecture} for that"
        remedy = "export it to a folder, or give genes: block to sublayers, genes: model to widths and experts"
        raise InputError(f"{why}: {remedy}", "problem.transforms")
    added, widths = _with_zeros(widths, hidden, size)
    return DECI, _deci_fields(base.fields, widths, size), added


def _even_fields(base: Base, block: Mapping[str, TensorSpec], widths: Widths, count: int, size: int) -> Fields:
    name = base.architecture
    fewer = InputError(f"llama.cpp's {name} cannot have fewer heads: export it to a folder", "problem.transforms")
    entries = {f"{name}.block_count": count}
    if widths.channels:
        entries[f"{name}.feed_forward_length"] = widths.channels
    if EXPERTS in block:
        experts, _, channels = block[EXPERTS].shape
        entries |= {f"{name}.expert_count": experts, f"{name}.expert_feed_forward_length": channels}
        entries |= {f"{name}.feed_forward_length": channels}
    if widths.heads:
        entries |= {f"{name}.attention.head_count": widths.heads, f"{name}.attention.head_count_kv": widths.groups}
        if base.fields[f"{name}.attention.head_count"].value != widths.heads:
            if name not in _SIZED_HEADS:
                raise fewer
            entries |= {f"{name}.attention.key_length": size, f"{name}.attention.value_length": size}
    elif _OUTPUT not in block or block[_OUTPUT].shape[0] != block[_OUTPUT].shape[1]:
        raise fewer
    return {**base.fields, **{key: as_field(value) for key, value in entries.items()}}


def _deci_fields(fields: Fields, widths: Sequence[Widths], size: int) -> Fields:
    renamed = {re.sub(f"^{LLAMA}(?=[.])", DECI, key): value for key, value in fields.items()}
    entries: dict[str, Any] = {
        "block_count": len(widths),
        "attention.key_length": size,
        "attention.value_length": size,
        "attention.head_count": [block.heads for block in widths],
        "attention.head_count_kv": [block.groups for block in widths],
        "feed_forward_length": [block.channels for block in widths],
        "rope.dimension_count": size,
    }
    return {**renamed, **{f"{DECI}.{key}": as_field(value) for key, value in entries.items()}}


def _with_zeros(widths: Sequence[Widths], hidden: int, size: int) -> tuple[list[TensorSpec], list[Widths]]:
    """Return the zero tensors that llama.cpp needs to run blocks of ``widths``, and the widths with them."""
    specs, now = [], list(widths)
    for number, block in enumerate(widths):
        if not block.channels:
            specs += _zeros(number, "ffn_norm", ("ffn_gate", "ffn_up"), "ffn_down", hidden, _CHANNELS)
            now[number] = replace(block, channels=_CHANNELS)
    if not widths[0].heads:
        specs += _zeros(0, "attn_norm", ("attn_q", "attn_k", "attn_v"), "attn_output", hidden, size)
        now[0] = replace(now[0], heads=1, groups=1)
    return specs, now


def _zeros(block: int, norm: str, inputs: Sequence[str], output: str, hidden: int, width: int) -> list[TensorSpec]:
    zeros = dict.fromkeys(inputs, (width, hidden)) | {output: (hidden, width)}
    specs = [TensorSpec(f"blk.{block}.{name}.weight", shape, None) for name, shape in zeros.items()]
    return [*specs, TensorSpec(f"blk.{block}.{norm}.weight", (hidden,), None, fill=1.0)]
