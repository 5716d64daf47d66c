"""The transform ``types``: a type of GGUF for each matrix, which was quantised once to each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cachetools import LRUCache
from pydantic import Field, model_validator

from evoprune import Gene, Genes, InputError, Price, Rival, Settings, Term, note
from problems.calibration.statistics import INPUT_NORMS
from problems.gguf import ggml
from problems.gguf.ggml import COMMON, Bytes, Encoded
from problems.models.blocks import Matrix
from problems.models.resident import Resident
from problems.models.settings import Source
from problems.models.tensor_file import sha256_of
from problems.models.throughput import Load
from problems.texts.text_splits import Texts
from problems.transforms.gguf_types import levels
from problems.transforms.gguf_types.matrices import (
    DENSE,
    Copy,
    TypedMatrix,
    group_of,
    is_read_whole,
    typed_matrices,
    widths_of,
)
from problems.transforms.gguf_types.presets import Bits, rivals
from problems.transforms.gguf_types.source import nearest_type, rows_taken, source_types
from problems.transforms.latency import Timer
from problems.transforms.overlay import Beside, Left, Overlay
from problems.transforms.shapes import Kinds, Shapes
from problems.transforms.transform import BYTES, PARAMETERS, RECENT_BYTES, WEIGHTS, Needs, Prices, Transform

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from problems.gguf.base import Base

QUANTISING = 1.5e-7  # s of one thread for each weight in each type, roughly: types of 32 weights take less


class TypesSettings(Settings):
    """The types that a matrix may have, and how it is quantised."""

    types: tuple[str, ...] | None = Field(
        None,
        description="GGUF types to choose from, as far as widths allow; null: 15 usual ones, Q8_0 to Q2_K; []: with "
        "from_source, none",
    )
    base: Source | None = Field(
        None,
        description="a .gguf file of the same model, in any types, that gives tokenizer and metadata; null: the model "
        "itself if it is one",
    )
    importance: bool = Field(
        True, description="weigh each input's error by its mean square on the calibration text (an importance matrix)"
    )
    source_types: bool = Field(
        True,
        description="if the source is quantised: allow the types that reproduce its matrices exactly; false leaves "
        "them out, so that no type looks better than it is",
    )
    from_source: bool = Field(
        False,
        description="of a model that is a .gguf file: each matrix is in its type of the file, or in a smaller one, not "
        "in 16 bits; sizes and times are compared with this file",
    )

    @model_validator(mode="after")
    def _each_once(self) -> TypesSettings:
        if self.types and len(set(self.types)) < len(self.types):
            raise ValueError("types: expected each type once")
        if self.types == () and not self.from_source:
            raise ValueError("types: expected at least 1, or from_source")
        return self


class Types(Overlay):
    """Store each matrix in a type of GGUF: a gene is a matrix, its levels are types, from more to fewer bytes.

    Of the matrices of the blocks, the embedding, with which a tied head goes, and a head that is not tied. A type that
    another one matches in bytes and in error is no level; once times are known, in time and in error. ggml quantises,
    with an importance matrix if the settings say so: the mean squares of the inputs. Matrices that cuts made smaller
    are quantised when a candidate has them. With ``from_source`` the first type is that of the source, not 16 bits, and
    rows of the source keep their bytes.
    """

    Settings = TypesSettings
    settings: TypesSettings
    units = (WEIGHTS, PARAMETERS, BYTES)

    def __init__(self, resident: Resident, settings: TypesSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = typed_matrices(resident)
        self._every = False  # whether all types are levels
        self._kinds = _chosen(settings)
        self._source = self._types_of_source() if settings.from_source else {}
        self._check_types()
        calibration = self.texts.calibration if settings.importance else None
        chosen = {kind: [matrix for matrix in self.matrices if self._may_be(matrix, kind)] for kind in self._kinds}
        self._stored = levels.stored_types(resident, self.matrices, chosen, calibration)
        weighed = levels.importance_on(resident, calibration)
        own = [matrix for matrix in self.matrices if matrix.name in weighed]
        self._stored |= {levels.key(levels.IMPORTANCE, DENSE, matrix): weighed[matrix.name] for matrix in own}
        self._sizes = [self._sizes_of(matrix) for matrix in self.matrices]
        self._genes = self._of_sizes()
        if not self._genes.free and not self._source:
            raise InputError("no type fits the model's matrices: types need rows of a multiple of 32", "problem.model")
        self._typed = [TypedMatrix(resident.model, matrix) for matrix in self.matrices]
        self._recent: LRUCache[Any, Copy] = LRUCache(RECENT_BYTES, lambda made: min(RECENT_BYTES, made[0].nbytes))

    @classmethod
    def calibrates(cls, settings: TypesSettings) -> bool:
        return settings.importance

    @classmethod
    def needs_of(cls, resident: Resident, settings: TypesSettings) -> Needs:
        """A copy of all matrices in memory, and all types of each on the disk."""
        copies = stored = quantised = 0
        for matrix in typed_matrices(resident):
            rows, width = matrix.rows(matrix.weight).shape
            kinds = [kind for kind in _chosen(settings) if ggml.fits(kind, width)]
            copies += matrix.weight.nbytes
            quantised += rows * width * len(kinds)
            stored += rows * sum(ggml.row_bytes(kind, width) for kind in kinds)
        statistics = frozenset({INPUT_NORMS} if settings.importance else ())
        return Needs(statistics, False, copies, stored, QUANTISING * quantised)

    @classmethod
    def missing(cls, settings: TypesSettings) -> list[str]:
        faults = [f"problem.transforms: {found}"] if (found := ggml.missing()) else []
        if settings.base and not Path(settings.base).is_file():
            faults.append(f"problem.transforms.base: {settings.base}: no such file")
        return faults

    @classmethod
    def rivals(cls, settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> Iterator[Rival]:
        return rivals(settings, alone)

    @property
    def stored(self) -> Mapping[str, torch.Tensor]:
        """The loaded matrices in types, see :func:`problems.transforms.gguf_types.levels.quantised`."""
        return self._stored

    @property
    def genes(self) -> Genes:
        return self._genes

    def uniform(self, share: float) -> list[float]:
        return self._bits.uniform(share)

    def initial_genomes(self) -> Sequence[list[float]]:
        """llama.cpp's presets; where a type of theirs is no level, the first that has no more bits.

        So a preset gets better where another type matches one of its own in bytes, with less error.
        """
        try:
            found = self.presets()
        except InputError as error:
            note(f"the search starts without llama.cpp's presets: {error}")
            return []
        return [self._bits.nearest(kinds) for kinds in found.values()]

    def genome_of(self, kinds: Sequence[str]) -> list[float]:
        """Each matrix in its type of ``kinds``; where that is no level, in the first that has no more bits."""
        genome = self._bits.nearest(kinds)
        if larger := self._bits.larger(genome, kinds):
            name, kind = self.matrices[larger[0]].name, kinds[larger[0]]
            raise InputError(f"{name} cannot be stored in {kind} by problem.transforms")
        return genome

    def presets(self) -> dict[str, list[str]]:
        """The type of each matrix in each of llama.cpp's presets; the model must be dense."""
        from problems.gguf.runtime import presets

        names = [matrix.parameter for matrix in self.matrices]
        found = presets(self.resident.model, self._base, self.settings.importance)
        return {preset: [kinds.get(name, DENSE) for name in names] for preset, kinds in found.items()}

    @property
    def base(self) -> str | None:
        return self.settings.base

    def fit(self, shapes: Shapes) -> None:
        """See :meth:`Overlay.fit`: types stay whose blocks of weights divide all widths that may be left."""
        fitting = []
        for matrix, own in zip(self.matrices, self._sizes, strict=True):
            widths = {shape[0 if matrix.transposed else 1] for shape in shapes.possible(matrix.parameter)}
            first, *others = own
            nearest = DENSE if first == DENSE else nearest_type(first, widths) or DENSE
            kept = [kind for kind in others if kind != nearest and all(ggml.fits(kind, width) for width in widths)]
            fitting.append({nearest: own[first]} | {kind: own[kind] for kind in kept})
        self._sizes = fitting
        self._genes = self._of_sizes()
        if not self._genes.free and not self._source:
            raise InputError(
                "no type fits what cuts may leave of the matrices: types need rows of a multiple of 32 weights, "
                "K-types of 256; give steps of as many channels",
                "problem.transforms",
            )

    def lift(self) -> None:
        for typed in self._typed:
            typed.lift()

    @torch.no_grad()
    def lay(self, genome: Sequence[float], left: Left) -> None:
        there = set(self.resident.model.modules())
        for typed, kind in zip(self._typed, self._genes.chosen(genome), strict=True):
            kind = kind if typed.matrix.module in there else DENSE
            typed.lay(kind, partial(self._in_type, typed, kind, left))

    def _in_type(self, typed: TypedMatrix, kind: str, left: Left, weight: torch.Tensor) -> Copy:
        matrix = typed.matrix
        rows = None if weight is typed.whole else left().rows.get(matrix.name)
        if (data := self._rows_of_source(typed, kind, weight, rows)) is not None:
            return weight, data
        untouched = weight is typed.whole or rows is not None
        if untouched and levels.key(levels.DATA, kind, matrix) in self._stored:
            return levels.held(matrix, self._stored, kind, rows)
        if self._every:  # it is timed only
            count, width = matrix.rows(weight).shape
            return weight, np.zeros((count, ggml.row_bytes(kind, width)), np.uint8)
        known = matrix.name, kind, sha256_of({"": weight})
        if known not in self._recent:
            self._recent[known] = levels.quantised_anew(matrix, weight, kind, self._weighed(matrix, left))
        values, data = self._recent[known]
        return values.clone(), data

    def _rows_of_source(
        self, typed: TypedMatrix, kind: str, weight: torch.Tensor, rows: torch.Tensor | None
    ) -> Bytes | None:
        """The bytes of ``weight`` in the source, if all its rows, which may be known, are there in ``kind``."""
        matrix, own = typed.matrix, self._source.get(typed.matrix.name)
        if own is None or own.kind != kind:
            return None
        whole = matrix.rows(typed.whole)
        if rows is not None:
            whole, own = whole[rows], Encoded(kind, own.data[rows.numpy()])
        return rows_taken(own, whole, matrix.rows(weight))

    def _weighed(self, matrix: Matrix, left: Left) -> torch.Tensor | None:
        importance = self._stored.get(levels.key(levels.IMPORTANCE, DENSE, matrix))
        kept = left().inputs.get(matrix.name)
        return importance if importance is None or kept is None else importance[kept.cpu()]

    def marks(self) -> Sequence[Hashable]:
        kinds: list[list[str]] = [[] for _ in range(1 + self.resident.matrices[-1].block)]
        for typed in self._typed:
            if typed.matrix.block < len(kinds):
                kinds[typed.matrix.block].append(typed.kind)
        return [tuple(of_block) for of_block in kinds]

    def prices(self, unit: str) -> Prices:
        """No weight and no parameter is saved. Bytes are those of the .gguf file, with its header and tokenizer."""
        if unit != BYTES:
            total = self.resident.prunable_weights if unit == WEIGHTS else self.resident.parameters
            return [[0.0] * len(gene.levels) for gene in self._genes], float(total)
        from problems.gguf.size import tensor_bytes

        dense, base = self._dense_bytes, self._base
        prices: list[Price] = []
        for typed, gene in zip(self._typed, self._genes, strict=True):
            own = [tensor_bytes(base.half if kind == DENSE else kind, typed.shape) for kind in gene.levels]
            prices.append([float(size - own[0]) for size in own])
        return prices, dense

    @cached_property
    def _dense_bytes(self) -> float:
        from problems.gguf.write import contents

        whole = {matrix.parameter: self._source.get(matrix.name) for matrix in self.matrices}
        held = {name: own for name, own in whole.items() if own}
        return float(contents(self.resident.model, self._base, held).bytes)

    @cached_property
    def _base(self) -> Base:
        """Found while the model is dense, and read once: it has all the tokens."""
        from problems.gguf.base import find_base

        return find_base(self.resident, self.base)

    def _types_of_source(self) -> dict[str, Encoded]:
        from problems.gguf.base import find_base

        if not self.resident.source.endswith(".gguf"):
            raise InputError("is for a model that is a .gguf file", "problem.transforms.from_source")
        base = find_base(self.resident) if self.base else self._base
        return source_types(self.resident.model, base, self.matrices)

    def byte_terms(
        self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]
    ) -> tuple[list[Term], Beside]:
        from problems.transforms.gguf_types.file_size import CutBytes

        base = self._base
        kinds = {
            name: (place, [base.half if kind == DENSE else kind for kind in own])
            for name, (place, own) in self.kinds(shapes).items()
        }
        counted = CutBytes(self.resident.model, base, shapes, kinds, vocabularies)
        return counted.terms, counted.beside

    def kinds(self, shapes: Shapes) -> Kinds:
        own = enumerate(zip(self.matrices, self._genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in own}

    def bare(self) -> Transform:
        """The same with all types as levels, from more to fewer bytes: which are worth their time is not known."""
        bare = copy(self)
        bare._every = True
        bare._genes = bare._of_sizes()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Leave the types that no other one matches in time and in error, slowest first."""
        found = []
        for matrix, there in zip(self.matrices, self._sizes, strict=True):
            own = times.get(matrix.name, {})
            if there.keys() - own.keys():
                raise ValueError("other types")
            found.append(levels.worth(matrix, self._stored, {kind: own[kind] for kind in there}))
        self._genes = self._of_levels(found)

    def timer(self, whole: Transform, load: Load, cuts: Sequence[Any]) -> Timer:
        from problems.transforms.gguf_types.latency import IDLE, TYPES, FileTimer

        read = [is_read_whole(self.resident, matrix, load.phase) for matrix in self.matrices]
        firsts = [next(iter(own)) for own in self._sizes]
        kinds = [*cuts, *((TYPES, first) if each else IDLE for each, first in zip(read, firsts, strict=True))]
        dense = "types of the source" if self._source else "16 bits"
        return FileTimer(whole, load, kinds, len(cuts), self, lambda: self._base, dense)

    def encoded(self) -> Mapping[str, Encoded]:
        typed = {each.matrix.parameter: (each.kind, each.data) for each in self._typed}
        return {name: Encoded(kind, data) for name, (kind, data) in typed.items() if data is not None}

    @torch.no_grad()
    def encode(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        """Quantise the matrices of ``model``, with the importance of the inputs of the dense one."""
        there, found = dict(model.named_modules()), {}
        for typed, kind in zip(self._typed, self._genes.chosen(genome), strict=True):
            matrix = typed.matrix
            if kind == DENSE or matrix.name not in there:
                continue
            weight = there[matrix.name].weight
            data = self._rows_of_source(typed, kind, weight, left().rows.get(matrix.name))
            if data is None:
                values, data = levels.quantised_anew(matrix, weight, kind, self._weighed(matrix, left))
                weight.copy_(values)
            found[matrix.parameter] = Encoded(kind, data)
        return found

    def describe(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "types": list(self._kinds),
            "importance": settings.importance,
            "source_types": dict(self.reproduced) if settings.source_types else False,
            **({"from_source": True} if settings.from_source else {}),
        }

    def remarks(self) -> list[str]:
        if not self.reproduced:
            return []
        found = ", ".join(f"{kind} of {count}" for kind, count in self.reproduced.items())
        return [
            f"its source is quantised, and types reproduce matrices of it ({found}), so that they look better "
            "than they are: for claims set source_types: false, or take a source in 16 bits"
        ]

    @property
    def reproduced(self) -> Counter[str]:
        """The number of matrices that each type reproduces, since the source was stored in such a type."""
        return Counter(
            kind
            for matrix, gene in zip(self.matrices, self._genes, strict=True)
            for kind in gene.levels[1:]
            if levels.is_exact(matrix, self._stored, kind)
        )

    @property
    def _bits(self) -> Bits:
        return Bits(self._genes, [typed.shape[1] for typed in self._typed])

    def _may_be(self, matrix: Matrix, kind: str) -> bool:
        """Return whether ``kind`` fits ``matrix``, and is smaller than its type in the source."""
        rows, width = matrix.rows(matrix.weight).shape
        own = self._source.get(matrix.name)
        return ggml.fits(kind, width) and (own is None or rows * ggml.row_bytes(kind, width) < own.data.nbytes)

    def _sizes_of(self, matrix: Matrix) -> dict[str, float]:
        """The bytes of ``matrix`` in each type that it may have, from more to fewer."""
        found = levels.sizes(matrix, self._stored, self._kinds, self.settings.source_types)
        if (own := self._source.get(matrix.name)) is None:
            return found
        return {own.kind: float(own.data.nbytes)} | {kind: size for kind, size in found.items() if kind != DENSE}

    def _of_sizes(self) -> Genes:
        if self._every:
            return self._of_levels([[*own] for own in self._sizes])
        both = zip(self.matrices, self._sizes, strict=True)
        return self._of_levels([levels.worth(matrix, self._stored, own) for matrix, own in both])

    def _of_levels(self, found: Sequence[list[str]]) -> Genes:
        genes, blocks = [], self.resident.matrices
        for matrix, kinds in zip(self.matrices, found, strict=True):
            known = levels.harms(matrix, self._stored, kinds[1:])
            harms = [0.0, *(known or levels.errors(matrix, self._stored, kinds[1:]))]
            gene = Gene.of_levels(matrix.name, kinds, group_of(matrix, blocks), harms if any(harms) else [])
            genes.append(replace(gene, absolute=bool(known and gene.harms)))
        return Genes(genes)

    def _check_types(self) -> None:
        for kind in self.settings.types or ():
            widths = widths_of(self.matrices)
            if not any(ggml.fits(kind, width) for width in widths):
                there = ", ".join(map(str, widths))
                raise InputError(
                    f"{kind} needs rows of a multiple of {ggml.block_size(kind)} weights; the model's are {there}",
                    "problem.transforms.types",
                )


def _chosen(settings: TypesSettings) -> Sequence[str]:
    return COMMON if settings.types is None else settings.types
