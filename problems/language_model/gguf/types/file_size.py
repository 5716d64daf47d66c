"""Exact bytes of the .gguf file of a pruned model, from shapes and types alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from evoprune import Term
from evoprune.problems.language_model.gguf.base import Base, cut_fields
from evoprune.problems.language_model.gguf.layout import Layout, arrange
from evoprune.problems.language_model.gguf.names import TensorSpec, head_size, hidden_size, specs_by_parameter
from evoprune.problems.language_model.gguf.write import (
    HEAD_BYTES,
    field_bytes,
    info_bytes,
    padded,
    plain_kind,
    string_bytes,
    tensor_bytes,
)
from evoprune.problems.language_model.transforms.shapes import Kinds, Shape, Shapes

_CACHED = 2**16


class CutBytes:
    """Counts the bytes of the file of ``model``, which is dense now, after genes have pruned it to some of ``shapes``.

    ``kinds``: of quantised matrices; others are in the half precision of ``base``. ``terms`` count each remaining
    tensor with its entry in the header; ``rest``, by the levels of the genes that prune, counts everything else:
    metadata, padding, and tensors of zeros that llama.cpp requires.
    """

    def __init__(
        self, model: Any, base: Base, shapes: Shapes, kinds: Kinds,
        vocabularies: Mapping[int, Sequence[Sequence[int] | None]],
    ) -> None:  # fmt: skip
        """Raise :class:`evoprune.InputError` if genes can make a model that llama.cpp does not support."""
        self._base, self._shapes = base, shapes
        self._hidden, self._size = hidden_size(model), head_size(model)
        self._specs = specs_by_parameter(model, base.architecture, base.conversions)
        self._inside: dict[int, list[str]] = {}
        for parameter, (spec, *_) in self._specs.items():
            if spec.name.startswith("blk."):
                self._inside.setdefault(int(spec.name.split(".")[1]), []).append(parameter)
        self._genes = {
            number: sorted({place for name in names for place in shapes.cuts[name]})
            for number, names in self._inside.items()
        }
        self._field_sizes = {id(field): field_bytes("", field) for field in base.fields.values()}
        self._tokens = {place: [self._added(kept) for kept in levels] for place, levels in vocabularies.items()}
        self._block = lru_cache(_CACHED)(self._block_specs)
        self.rest: Callable[[tuple[int, ...]], float] = lru_cache(_CACHED)(self._rest)
        self.terms: list[Term] = shapes.terms(self._count, kinds)
        self._check()

    def _added(self, kept: Sequence[int] | None) -> int:
        """Return the change, at most 0, of the bytes of metadata by a tokenizer with the tokens ``kept``."""
        if kept is None:
            return 0
        dense, pruned = self._base.fields, cut_fields(self._base.fields, kept)
        return sum(map(field_bytes, pruned, pruned.values())) - sum(map(self._field, dense, dense.values()))

    def _count(self, parameter: str, shape: Shape, kind: str | None) -> float:
        if not all(shape):
            return 0.0
        return sum(self._tensor_bytes(spec.of_shape(shape), kind) for spec in self._specs[parameter])

    def _tensor_bytes(self, spec: TensorSpec, kind: str | None = None) -> float:
        data = tensor_bytes(kind or plain_kind(spec, self._base), spec.shape)
        return float(data + info_bytes(spec.name, spec.shape))

    def _rest(self, levels: tuple[int, ...]) -> float:
        blocks: list[dict[str, TensorSpec]] = []
        renamed, unwritten = 0, 0.0
        for number, genes in self._genes.items():
            specs = self._block(number, tuple(levels[place] for place in genes))
            if any(len(spec.shape) > 1 for spec in specs.values()):
                renamed += len(specs) * (len(str(len(blocks))) - len(str(number)))
                blocks.append(specs)
            else:  # at most a norm that the dropped sublayers shared
                unwritten += sum(map(self._tensor_bytes, specs.values()))
        added: Sequence[TensorSpec] = []
        architecture, fields = self._base.architecture, self._base.fields
        if blocks:  # without blocks no file can be written, but its size is defined
            architecture, fields, added = arrange(blocks, self._base, self._hidden, self._size)
        fields = Layout(architecture, fields, []).with_kinds([self._base.half]).fields
        kept = [(name, tensor.kind, tensor.shape) for name, tensor in self._base.extra_tensors.items()]
        kept += [(spec.name, plain_kind(spec, self._base), spec.shape) for spec in added]
        listed = sum(info_bytes(spec.name, spec.shape) for spec in self._listed(blocks))
        head = HEAD_BYTES + string_bytes(architecture) + sum(map(self._field, fields, fields.values()))
        head += sum(added[levels[place]] for place, added in self._tokens.items())
        head += listed + renamed + sum(info_bytes(name, shape) for name, _, shape in kept)
        data = sum(tensor_bytes(kind, shape) for _, kind, shape in kept)
        return float(padded(head) - listed + data - unwritten)

    def _listed(self, blocks: Sequence[Mapping[str, TensorSpec]]) -> list[TensorSpec]:
        every = [spec for specs in self._specs.values() for spec in specs]
        outside = [spec for spec in every if not spec.name.startswith("blk.")]
        return [*outside, *(spec for block in blocks for spec in block.values())]

    def _field(self, key: str, field: Any) -> int:
        size = self._field_sizes.get(id(field))
        return field_bytes(key, field) if size is None else size + len(key.encode())

    def _block_specs(self, number: int, levels: tuple[int, ...]) -> dict[str, TensorSpec]:
        every = [0] * len(self._shapes.counts)
        for place, level in zip(self._genes[number], levels, strict=True):
            every[place] = level
        specs = {}
        for parameter in self._inside[number]:
            shape = self._shapes.shape(parameter, every)
            for spec in self._specs[parameter] if all(shape) else ():
                specs[spec.name.split(".", 2)[2]] = spec.of_shape(shape)
        return specs

    def _check(self) -> None:
        for place, count in enumerate(self._shapes.counts):
            for level in range(count):
                levels = [0] * len(self._shapes.counts)
                levels[place] = level
                self.rest(tuple(levels))
