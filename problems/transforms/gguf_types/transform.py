"""A type of GGUF for each matrix: candidates are switched between types that were quantised once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from cachetools import LRUCache

from evoprune import Gene, Genes, InputError, Price, Rival, Term, note
from problems.calibration.activations import INPUT_NORMS
from problems.gguf import ggml
from problems.gguf.encoded import Encoded
from problems.models.blocks import Matrix
from problems.models.resident import Resident
from problems.models.tensor_file import sha256_of
from problems.models.throughput import Load
from problems.texts.text_splits import Texts
from problems.transforms.gguf_types.bits import Bits
from problems.transforms.gguf_types.levels import (
    DENSE,
    IMPORTANCE,
    errors,
    held,
    is_exact,
    key,
    quantised_anew,
    sizes,
    worth,
)
from problems.transforms.gguf_types.matrices import group_of, is_read_whole, parameter_of, typed_matrices, widths_of
from problems.transforms.gguf_types.rivals import rivals
from problems.transforms.gguf_types.settings import COMMON, TypesSettings
from problems.transforms.gguf_types.sheet import Made, Sheet
from problems.transforms.gguf_types.stored import stored_types
from problems.transforms.latency import Clock
from problems.transforms.overlay import Beside, Left, Overlay
from problems.transforms.shapes import Kinds, Shapes
from problems.transforms.transform import PARAMETERS, RECENT_BYTES, WEIGHTS, Needs, Transform, unknown_unit

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from problems.gguf.base import Base

QUANTISING = 1.5e-7  # s of one thread for each weight in each type, roughly: types of 32 weights take less


class Types(Overlay):
    """Store each matrix in a type of GGUF: a gene is a matrix, its levels are types, from more to fewer bytes.

    Of the matrices of the blocks, the embedding, with which a tied head goes, and a head that is not tied. A type that
    another one matches in bytes and in error is no level; once times are known, in time and in error. ggml quantises,
    with an importance matrix if the settings say so: the mean squares of the inputs. Matrices that cuts made smaller
    are quantised when a candidate has them.
    """

    Settings = TypesSettings
    settings: TypesSettings

    def __init__(self, resident: Resident, settings: TypesSettings, texts: Texts) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = typed_matrices(resident)
        self._every = False  # whether all types are levels
        self._kinds = settings.types or COMMON
        self._check_types()
        calibration = texts.calibration if settings.importance else None
        self._stored = stored_types(resident, self.matrices, self._kinds, calibration)
        exact = settings.source_types
        self._sizes = [sizes(matrix, self._stored, self._kinds, exact) for matrix in self.matrices]
        self._genes = self._of_sizes()
        if not self._genes.free:
            raise InputError("no type fits the model's matrices: types need rows of a multiple of 32", "problem.model")
        self._sheets = [Sheet(resident.model, matrix) for matrix in self.matrices]
        self._recent: LRUCache[Any, Made] = LRUCache(RECENT_BYTES, lambda made: min(RECENT_BYTES, made[0].nbytes))

    @classmethod
    def calibrates(cls, settings: TypesSettings) -> bool:
        """True if inputs have an importance."""
        return settings.importance

    @classmethod
    def needs_of(cls, resident: Resident, settings: TypesSettings) -> Needs:
        """All matrices as they lie on the model, in memory, and what files hold of them in each type, on the disk."""
        laid = stored = quantised = 0
        for matrix in typed_matrices(resident):
            rows, width = matrix.rows(matrix.weight).shape
            kinds = [kind for kind in settings.types or COMMON if ggml.fits(kind, width)]
            laid += matrix.weight.nbytes
            quantised += rows * width * len(kinds)
            stored += rows * sum(ggml.row_bytes(kind, width) for kind in kinds)
        statistics = frozenset({INPUT_NORMS} if settings.importance else ())
        return Needs(statistics, False, laid, stored, QUANTISING * quantised)

    @classmethod
    def missing(cls, settings: TypesSettings) -> list[str]:
        """The packages by which weights are quantised, and the base."""
        faults = [f"problem.transforms: {found}"] if (found := ggml.missing()) else []
        if settings.base and not Path(settings.base).is_file():
            faults.append(f"problem.transforms.base: {settings.base}: no such file")
        return faults

    @property
    def genes(self) -> Genes:
        """The type of each matrix; the first level is dense."""
        return self._genes

    def uniform(self, share: float) -> list[float]:
        """The same bits for all matrices, ``share`` of the way from the most to the fewest that any type has."""
        return self._bits.uniform(share)

    def known(self) -> Sequence[list[float]]:
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
        """Each matrix in its type of ``kinds``; where that is no level, in the first that has no more bits.

        Raises :class:`evoprune.InputError` where all levels of a matrix have more.
        """
        genome = self._bits.nearest(kinds)
        if larger := self._bits.larger(genome, kinds):
            name, kind = self.matrices[larger[0]].name, kinds[larger[0]]
            raise InputError(f"{name} cannot be stored in {kind} by problem.transforms")
        return genome

    @property
    def _bits(self) -> Bits:
        return Bits(self._genes, [sheet.shape[1] for sheet in self._sheets])

    @classmethod
    def rivals(cls, settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> Iterator[Rival]:
        """llama.cpp's presets."""
        return rivals(settings, alone)

    def presets(self) -> dict[str, list[str]]:
        """The type of each matrix in each of llama.cpp's presets; the model must be dense.

        Raises :class:`evoprune.InputError` where llama.cpp does not say it.
        """
        from problems.gguf.presets import presets

        names = [parameter_of(matrix) for matrix in self.matrices]
        found = presets(self.resident.model, self._base, self.settings.importance)
        return {preset: [kinds.get(name, DENSE) for name in names] for preset, kinds in found.items()}

    def lie_on(self, shapes: Shapes) -> None:
        """See :meth:`Overlay.lie_on`: types stay whose blocks of weights divide all widths that may be left."""
        fitting = []
        for matrix, own in zip(self.matrices, self._sizes, strict=True):
            widths = {shape[0 if matrix.transposed else 1] for shape in shapes.possible(parameter_of(matrix))}
            fitting.append(
                {kind: size for kind, size in own.items() if kind == DENSE or all(ggml.fits(kind, w) for w in widths)}
            )
        self._sizes = fitting
        self._genes = self._of_sizes()
        if not self._genes.free:
            raise InputError(
                "no type fits what cuts may leave of the matrices: types need rows of a multiple of 32 weights, "
                "K-types of 256; give steps of as many channels",
                "problem.transforms",
            )

    def lift(self) -> None:
        """Put back all weights that lie beneath."""
        for sheet in self._sheets:
            sheet.lift()

    @torch.no_grad()
    def lay(self, genome: Sequence[float], left: Left) -> None:
        """Put the matrices in their types in the places of those that have another type now, or were changed."""
        there = set(self.resident.model.modules())
        for sheet, kind in zip(self._sheets, self._genes.chosen(genome), strict=True):
            kind = kind if sheet.matrix.module in there else DENSE
            sheet.lay(kind, partial(self._in_type, sheet, kind, left))

    def _in_type(self, sheet: Sheet, kind: str, left: Left, weight: torch.Tensor) -> Made:
        """``weight``, what is now of a matrix, in ``kind``."""
        matrix = sheet.matrix
        if weight is sheet.whole:
            return held(matrix, self._stored, kind)
        known = matrix.name, kind, sha256_of({"": weight})
        if known not in self._recent:
            self._recent[known] = quantised_anew(matrix, weight, kind, self._weighed(matrix, left))
        values, data = self._recent[known]
        return values.clone(), data

    def _weighed(self, matrix: Matrix, left: Left) -> torch.Tensor | None:
        """The importance of the inputs that ``matrix`` has."""
        importance, kept = self._stored.get(key(IMPORTANCE, DENSE, matrix)), left().get(matrix.name)
        return importance if importance is None or kept is None else importance[kept.cpu()]

    def marks(self) -> Sequence[Hashable]:
        """The types of each block's matrices, and for the first block that of the embedding."""
        kinds: list[list[str]] = [[] for _ in range(1 + self.resident.matrices[-1].block)]
        for sheet in self._sheets:
            if sheet.matrix.block < len(kinds):
                kinds[sheet.matrix.block].append(sheet.kind)
        return [tuple(of_block) for of_block in kinds]

    def prices(self, unit: str) -> tuple[list[Price], float]:
        """No weight and no parameter is saved."""
        totals = {WEIGHTS: self.resident.prunable_weights, PARAMETERS: self.resident.parameters}
        if unit not in totals:
            raise unknown_unit(self, unit, list(totals))
        return [[0.0] * len(gene.levels) for gene in self._genes], float(totals[unit])

    def byte_prices(self) -> tuple[list[Price], float]:
        """What a .gguf file weighs, to the byte: its header, metadata and tokenizer too.

        Raises :class:`evoprune.InputError` where it cannot be known what these are, or llama.cpp has no such model.
        """
        from problems.gguf.size import tensor_bytes

        dense, base = self._dense_bytes, self._base
        prices: list[Price] = []
        for sheet, gene in zip(self._sheets, self._genes, strict=True):
            own = [tensor_bytes(base.half if kind == DENSE else kind, sheet.shape) for kind in gene.levels]
            prices.append([float(size - own[0]) for size in own])
        return prices, dense

    @cached_property
    def _dense_bytes(self) -> float:
        from problems.gguf.write import contents

        return float(contents(self.resident.model, self._base, {}).bytes)

    @cached_property
    def _base(self) -> Base:
        """What files hold beside the weights; found while the model is dense, and read once: it has all the tokens."""
        from problems.gguf.find import find_base

        return find_base(self.resident, self.base)

    def byte_terms(self, shapes: Shapes) -> tuple[list[Term], Beside]:
        """What a .gguf file of the model weighs, as :meth:`byte_prices` does, once it is cut to ``shapes``."""
        from problems.transforms.gguf_types.file_size import CutBytes

        base = self._base
        kinds = {
            name: (place, [base.half if kind == DENSE else kind for kind in own])
            for name, (place, own) in self.kinds(shapes).items()
        }
        counted = CutBytes(self.resident.model, base, shapes, kinds)
        return counted.terms, counted.beside

    def kinds(self, shapes: Shapes) -> Kinds:
        """The levels of each matrix, by the name of its parameter."""
        own = enumerate(zip(self.matrices, self._genes, strict=True), len(shapes.counts))
        return {parameter_of(matrix): (place, gene.levels) for place, (matrix, gene) in own}

    def bare(self) -> Transform:
        """The same with all types as levels, from more to fewer bytes: which are worth their time is not known."""
        bare = copy(self)
        bare._every = True
        bare._genes = bare._of_sizes()
        return bare

    def worth(self, times: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
        """What no other type matches in time and in error, from more to less time."""
        return {matrix.name: worth(matrix, self._stored, times[matrix.name]) for matrix in self.matrices}

    def use_levels(self, levels: Mapping[str, Sequence[str]], timed: Mapping[str, Sequence[str]]) -> None:
        """See :meth:`Transform.use_levels`."""
        found = []
        for matrix, there in zip(self.matrices, self._sizes, strict=True):
            own = list(levels[matrix.name])
            if own[0] != DENSE or set(own) - there.keys() or there.keys() - set(timed.get(matrix.name, ())):
                raise ValueError("other types")
            found.append(own)
        self._genes = self._of_levels(found)

    def clock(self, load: Load) -> Clock:
        """That of llama.cpp, which runs the files."""
        return self.clock_on(self, load, [])

    def clock_on(self, stack: Transform, load: Load, cuts: Sequence[Any]) -> Clock:
        """As :meth:`clock`, of files of what cuts leave."""
        from problems.transforms.gguf_types.latency import IDLE, TYPES, Files

        whole = [is_read_whole(self.resident, matrix, load.phase) for matrix in self.matrices]
        return Files(stack, load, [*cuts, *(TYPES if each else IDLE for each in whole)], len(cuts))

    def encoded(self) -> Mapping[str, Encoded]:
        """The matrices that are not in 16 bits now."""
        return {
            parameter_of(sheet.matrix): Encoded(sheet.kind, sheet.data)
            for sheet in self._sheets
            if sheet.data is not None
        }

    @torch.no_grad()
    def encode_left(self, model: Any, genome: Sequence[float], left: Left) -> Mapping[str, Encoded]:
        """Quantise the matrices of ``model``, with the importance of the inputs of the dense one."""
        there, found = dict(model.named_modules()), {}
        for matrix, kind in zip(self.matrices, self._genes.chosen(genome), strict=True):
            if kind != DENSE and matrix.name in there:
                weight = there[matrix.name].weight
                values, data = quantised_anew(matrix, weight, kind, self._weighed(matrix, left))
                weight.copy_(values)
                found[parameter_of(matrix)] = Encoded(kind, data)
        return found

    def describe(self) -> dict[str, Any]:
        """The types, how they are quantised, and how many matrices each type reproduces."""
        settings = self.settings
        return {
            "types": list(self._kinds),
            "importance": settings.importance,
            "source_types": dict(self.reproduced) if settings.source_types else False,
        }

    def remarks(self) -> list[str]:
        """That types seem better than they are, where the source was stored in such types."""
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
            for kind in gene.levels
            if is_exact(matrix, self._stored, kind)
        )

    def _of_sizes(self) -> Genes:
        """The genes whose levels are worth their bytes; of all that fits, if every type is a level."""
        both = zip(self.matrices, self._sizes, strict=True)
        return self._of_levels([[*own] if self._every else worth(matrix, self._stored, own) for matrix, own in both])

    def _of_levels(self, levels: Sequence[list[str]]) -> Genes:
        genes, blocks = [], self.resident.matrices
        for matrix, kinds in zip(self.matrices, levels, strict=True):
            harms = errors(matrix, self._stored, kinds)
            genes.append(Gene.of_levels(matrix.name, kinds, group_of(matrix, blocks), harms if any(harms) else []))
        return Genes(genes)

    def _check_types(self) -> None:
        """Raise :class:`evoprune.InputError` for a chosen type that ggml does not know, or that no matrix can have."""
        for kind in self.settings.types or ():
            widths = widths_of(self.matrices)
            if not any(ggml.fits(kind, width) for width in widths):
                there = ", ".join(map(str, widths))
                raise InputError(
                    f"{kind} needs rows of a multiple of {ggml.block_size(kind)} weights; the model's are {there}",
                    "problem.transforms.types",
                )
