"""The transform ``types``: a type of GGUF for each matrix."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprune import Genes, InputError, Price
from evoprune.console.phase import note
from evoprune.problems.language_model.calibration.tensor_cache import Tensors
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.experts import unchosen_remarks
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, dense_amount
from evoprune.problems.language_model.transforms.gguf_types.copies import Copies
from evoprune.problems.language_model.transforms.gguf_types.encodings import Encodings
from evoprune.problems.language_model.transforms.gguf_types.genes import TypeGenes, may_be
from evoprune.problems.language_model.transforms.gguf_types.importance import importance_in, importance_on
from evoprune.problems.language_model.transforms.gguf_types.levels import errors_on
from evoprune.problems.language_model.transforms.gguf_types.matrices import (
    DENSE,
    check_types,
    is_read_whole,
    slots_of,
    typed_matrices,
)
from evoprune.problems.language_model.transforms.gguf_types.presets import Bits, presets_alone
from evoprune.problems.language_model.transforms.gguf_types.settings import TypesSettings
from evoprune.problems.language_model.transforms.gguf_types.source import source_types
from evoprune.problems.language_model.transforms.latency import Timer
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import ModelMaker, Remaining, Transform

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base
    from evoprune.problems.language_model.transforms.gguf_types.file_size import CutBytes
    from evoprune.problems.language_model.transforms.stack_costs import StackCosts


class Types(Transform):
    """Store each matrix in a type of GGUF: a gene is a matrix, its levels are types, from more to fewer bytes::

        transforms: {use: types, types: [Q8_0, Q6_K, Q4_K]}
        budget: {use: bytes, at_most: 70000000}

    Of the matrices of the blocks, the embedding, with which a tied head goes, and a head that is not tied. A type that
    another one matches in bytes and in error is no level; once times are known, in time and in error. Errors are
    estimated on some rows, and a matrix is quantised when a candidate has it in a type. ggml quantises, with an
    importance matrix if the settings say so: the mean squares of the inputs. With ``from_source`` the first type is
    that of the source, not 16 bits, and rows of the source keep their bytes. A ``recipe`` leaves one more type.

    Quantised copies are swapped into the model, and no weight is written. In a stack it comes last: it is lifted before
    cuts are applied, and laid on the remaining weights.
    """

    Settings = TypesSettings
    settings: TypesSettings
    units = (WEIGHTS, PARAMETERS, BYTES)
    parts = frozenset({"form"})
    replayed = False

    def __init__(self, resident: Resident, settings: TypesSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        matrices, source = typed_matrices(resident), {}
        recipe = self._recipe(matrices) if settings.recipe else {}
        kinds = sorted({*recipe.values()} - ggml.FLOATS) if recipe else settings.chosen
        if settings.from_source:
            if not resident.source.endswith(".gguf"):
                raise InputError("is for a model that is a .gguf file", "problem.transforms.from_source")
            from evoprune.problems.language_model.gguf.base import find_base

            source = source_types(resident, find_base(resident))
        check_types(settings.types or (), matrices)
        may = {kind: [matrix for matrix in matrices if may_be(matrix, kind, source)] for kind in kinds}
        chosen = {kind: [each for each in own if recipe.get(each.name, kind) == kind] for kind, own in may.items()}
        calibration = self.texts.calibration if self.calibrates(settings) else None
        errors = errors_on(resident, matrices, chosen, self._importance(calibration), None if recipe else calibration)
        sizes = [errors.sizes(matrix, kinds, settings.source_types, source) for matrix in matrices]
        same = {name for name, own in source.items() if own.kind == recipe.get(name)}
        self._larger = len((recipe.keys() & source.keys()) - same - {name for name, _ in errors.relative})
        self.matrices, self.errors, self._source = matrices, errors, source
        self._levels = TypeGenes(matrices, resident.with_stacks, errors, sizes)
        self._copies = Copies(resident, matrices, Encodings(errors.importance), source)
        if not self.genes.free and not source:
            raise InputError("no type fits the model's matrices: types need rows of a multiple of 32", "problem.model")
        if not resident.streams:
            copies = sum(matrix.weight.nbytes for matrix in matrices)
            Room.of("the search", resident.device, 0, copies, "set problem.memory to stream")

    @classmethod
    def calibrates(cls, settings: TypesSettings) -> bool:
        return settings.importance and not (settings.imatrix and settings.recipe)

    @classmethod
    def missing(cls, settings: TypesSettings) -> list[str]:
        faults = [f"problem.transforms: {found}"] if (found := ggml.missing()) else []
        files = settings.model_dump(include={"base", "imatrix", "recipe"}, exclude_none=True).items()
        absent = [(key, file) for key, file in files if not Path(file).is_file()]
        return [*faults, *(f"problem.transforms.{key}: {file}: no such file" for key, file in absent)]

    def _recipe(self, matrices: Sequence[Matrix]) -> dict[str, str]:
        """The type of each of ``matrices`` in the recipe, by name. Raises InputError for one that it cannot have."""
        from evoprune.problems.language_model.gguf.recipe import TensorTypes

        recipe, slots, found = TensorTypes(Path(self.settings.recipe or "")), slots_of(self.resident, self.base), {}
        for matrix in matrices:
            kinds, width = {recipe.kind(slot.name) for slot in slots[matrix.name]}, matrix.rows(matrix.weight).shape[1]
            if len(kinds) > 1 or not ggml.fits(max(kinds), width):
                name = " and ".join(slot.name for slot in slots[matrix.name])
                raise InputError(f"{name} of {width} weights a row cannot be {' and '.join(kinds)}", str(recipe.path))
            found[matrix.name] = max(kinds)
        return found

    def _importance(self, calibration: Windows | None) -> Tensors:
        if self.settings.imatrix:
            return importance_in(Path(self.settings.imatrix), self.resident, self.base)
        return importance_on(self.resident, calibration) if calibration else {}

    @property
    def genes(self) -> Genes:
        return self._levels.genes

    @property
    def late(self) -> bool:
        return self.resident.streams

    def fit(self, shapes: Shapes) -> None:
        """Leave the types that parameters cut to ``shapes`` allow. Called before the genes are read."""
        self._levels.fit(shapes)
        if not self.genes.free and not self._source:
            why = "no type fits what cuts may leave: give steps of 32 channels, or of 256 for K-types"
            raise InputError(why, "problem.transforms")

    def apply(self, genome: Sequence[float]) -> None:
        self.lift()
        self.lay(genome, Remaining({}, {}))

    def lift(self) -> None:
        """Put back the weights of the cuts."""
        self._copies.lift()

    def lay(self, genome: Sequence[float], remaining: Remaining) -> None:
        """Replace the weights as they are now by their copies in the types of ``genome``."""
        self._copies.lay(self.genes.chosen(genome), remaining, blank=self._levels.all_types)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self._copies.fingerprints(1 + self.resident.matrices[-1].block)

    def encoded(self) -> Mapping[str, Encoded]:
        """Return the parameters that a .gguf file of the model now holds in a quantised type, by name."""
        return self._copies.encoded()

    def encode(self, model: Any, genome: Sequence[float], remaining: Remaining) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for the weights of a trained ``model``, in the types of ``genome``."""
        return self._copies.encode(model, self.genes.chosen(genome), remaining)

    def kinds(self, shapes: Shapes) -> Kinds:
        """Return the types of each parameter, the first dense; its genes come after the genes of ``shapes``."""
        genes = enumerate(zip(self.matrices, self.genes, strict=True), len(shapes.counts))
        return {matrix.parameter: (place, gene.levels) for place, (matrix, gene) in genes}

    def bare(self) -> Transform:
        """The same with all types as levels: their times are not known yet."""
        bare = copy(self)
        bare._levels = self._levels.of_all_types()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        self._levels.use_times(times)

    @classmethod
    def presets_alone(cls, settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
        return presets_alone(settings, alone)

    def uniform(self, share: float) -> list[float]:
        return self._bits.uniform(share)

    def initial_genomes(self) -> Sequence[list[float]]:
        """llama.cpp's presets, or the recipe; where a type is no level, the first level that has no more bits.

        None where harms are known, as the first child of a search by costs is much better then.
        """
        if self.errors.harms:
            return []
        if self.settings.recipe:
            return [self.uniform(1)]
        try:
            presets = self.presets()
        except InputError as error:
            note(f"the search starts without llama.cpp's presets: {error}")
            return []
        return [self._bits.nearest(kinds) for kinds in presets.values()]

    def genome_of(self, kinds: Sequence[str]) -> list[float]:
        """Each matrix in its type of ``kinds``; where that is no level, in the first that has no more bits."""
        genome = self._bits.nearest(kinds)
        if larger := self._bits.larger(genome, kinds):
            name, kind = self.matrices[larger[0]].name, kinds[larger[0]]
            raise InputError(f"{name} cannot be stored in {kind} by problem.transforms")
        return genome

    def presets(self) -> dict[str, list[str]]:
        """The type of each matrix in each of llama.cpp's presets; the model must be dense."""
        from evoprune.problems.language_model.gguf.runtime import presets

        names = [matrix.parameter for matrix in self.matrices]
        by_preset = presets(self.resident.model, self.base, self.settings.importance)
        return {preset: [kinds.get(name, DENSE) for name in names] for preset, kinds in by_preset.items()}

    def prices(self, unit: str) -> Prices:
        """No weight and no parameter is saved. Bytes are counted of the .gguf file, with its header and tokenizer."""
        if unit != BYTES:
            return [[0.0] * len(gene.levels) for gene in self.genes], dense_amount(self.resident, unit)
        from evoprune.problems.language_model.gguf.write import tensor_bytes

        dense, base = self._dense_bytes, self.base
        slots = slots_of(self.resident, base)
        prices: list[Price] = []
        for matrix, gene in zip(self.matrices, self.genes, strict=True):
            kinds = [base.half if kind == DENSE else kind for kind in gene.levels]
            own = [sum(tensor_bytes(kind, slot.shape) for slot in slots[matrix.name]) for kind in kinds]
            prices.append([float(size - own[0]) for size in own])
        return prices, dense

    @cached_property
    def _dense_bytes(self) -> float:
        from evoprune.problems.language_model.gguf.write import contents

        whole = {matrix.parameter: self._source.get(matrix.name) for matrix in self.matrices}
        held = {name: own for name, own in whole.items() if own}
        return float(contents(self.resident.model, self.base, held).bytes)

    @property
    def base(self) -> Base:
        """Metadata of the .gguf file of the dense model, with all its tokens; first read while the model is dense."""
        from evoprune.problems.language_model.gguf.base import find_base

        return find_base(self.resident, self.settings.base)

    def bytes_of_cuts(self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]) -> CutBytes:
        """Return the bytes of a file, by the genes that cut to ``shapes``, and then by the genes of types.

        ``vocabularies``: :attr:`Transform.vocabularies`, by the place of the gene.
        """
        from evoprune.problems.language_model.transforms.gguf_types.file_size import CutBytes

        base = self.base
        kinds = {
            name: (place, [base.half if kind == DENSE else kind for kind in own])
            for name, (place, own) in self.kinds(shapes).items()
        }
        return CutBytes(self.resident.model, base, shapes, kinds, vocabularies)

    def timer(self, whole: StackCosts, load: Load, cuts: Sequence[Any]) -> Timer:
        """Return the timer of ``whole``, the stack that it is in. ``cuts``: the kind of each gene that cuts."""
        from evoprune.problems.language_model.transforms.gguf_types.latency import IDLE, TYPES, FileTimer

        read = [is_read_whole(self.resident, matrix, load.phase) for matrix in self.matrices]
        both = zip(read, self.matrices, self.genes, strict=True)
        own = [(TYPES, gene.levels[0], isinstance(each, ExpertStack)) if every else IDLE for every, each, gene in both]
        kinds = [*cuts, *own]
        dense = "types of the source" if self._source else "16 bits"
        return FileTimer(whole, load, kinds, len(cuts), self, dense)

    def describe(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "types": Path(settings.recipe).name if settings.recipe else list(settings.chosen),
            "importance": Path(settings.imatrix).name if settings.imatrix else settings.importance,
            "source_types": dict(self._levels.reproduced) if settings.source_types else False,
            **({"from_source": True} if settings.from_source else {}),
        }

    def remarks(self) -> list[str]:
        unread = {each.block: self.errors.unread_experts(each.stacks[0]) for each in self.resident.mixtures}
        exact = ", ".join(f"{kind} of {count}" for kind, count in self._levels.reproduced.items())
        remark = (
            f"its source is quantised, and types reproduce matrices of it ({exact}), so that they look better "
            "than they are: for claims set source_types: false, or take a source in 16 bits"
        )
        larger = f"{self._larger} matrices keep the type of the source: that of the recipe has no fewer bytes"
        return [*unchosen_remarks(unread), *([remark] if exact else []), *([larger] if self._larger else [])]

    @property
    def _bits(self) -> Bits:
        return Bits(self.genes, [typed.shape[1] for typed in self._copies.typed])
