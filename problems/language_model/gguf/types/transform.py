"""The transform ``types``: a GGUF type for each matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprune import InputError, Price
from evoprune.plugins import note
from evoprune.problems.language_model.calibration.tensor_cache import Tensors
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.errors import cached_errors
from evoprune.problems.language_model.gguf.types.genes import is_smaller
from evoprune.problems.language_model.gguf.types.importance import cached_importance, load_importance
from evoprune.problems.language_model.gguf.types.matrices import (
    DENSE,
    check_types,
    is_read_whole,
    slots_of,
    typed_matrices,
)
from evoprune.problems.language_model.gguf.types.presets import Bits, presets_alone
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.gguf.types.source import source_types
from evoprune.problems.language_model.gguf.types.typed_copies import TypedCopies
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.experts import unchosen_remarks
from evoprune.problems.language_model.models.memory import Room
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.texts.windows import Windows
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, dense_cost
from evoprune.problems.language_model.transforms.latency import Timer
from evoprune.problems.language_model.transforms.shapes import Shapes
from evoprune.problems.language_model.transforms.transform import ModelMaker

if TYPE_CHECKING:  # it imports gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base
    from evoprune.problems.language_model.gguf.types.file_size import CutBytes
    from evoprune.problems.language_model.transforms.stack_costs import StackCosts


class Types(TypedCopies):
    """Quantise each matrix to a GGUF type: a gene is a matrix, and its levels are types, from more to fewer bytes::

        transforms: {use: types, types: [Q8_0, Q6_K, Q4_K]}
        budget: {use: bytes, at_most: 70000000}

    The blocks' matrices, the embedding, and a head that is not tied to it have types. Levels are the types that
    are Pareto-optimal in bytes and error, or in time and error once times are measured. Errors are estimated on some
    rows; a matrix is quantised when a candidate needs it. ggml quantises, by default with an importance matrix: the
    mean squares of the inputs. With ``from_source`` the first type is the source's, not 16 bits, and rows of the source
    keep their bytes. A ``recipe`` allows one other type.
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
        smaller = {kind: [matrix for matrix in matrices if is_smaller(matrix, kind, source)] for kind in kinds}
        chosen = {kind: [each for each in own if recipe.get(each.name, kind) == kind] for kind, own in smaller.items()}
        calibration = self.texts.calibration if self.calibrates(settings) else None
        errors = cached_errors(
            resident, matrices, chosen, self._importance(calibration), None if recipe else calibration
        )
        sizes = [errors.sizes(matrix, kinds, settings.source_types, source) for matrix in matrices]
        same = {name for name, own in source.items() if own.kind == recipe.get(name)}
        self._larger = len((recipe.keys() & source.keys()) - same - {name for name, _ in errors.relative})
        self._set_copies(matrices, errors, source, sizes)
        if not self.genes.free and not source:
            if settings.recipe:
                raise InputError("names no type that quantises a matrix", settings.recipe)
            if errors.relative:
                why = "false leaves out all types, as each reproduces its matrices: give other types"
                raise InputError(why, "problem.transforms.source_types")
            raise InputError("no type fits the model's matrices: types need rows of a multiple of 32", "problem.model")
        if not resident.streams:
            copies = sum(matrix.weight.nbytes for matrix in matrices)
            Room.of("the search", resident.device, 0, copies, "set problem.memory to stream")

    @classmethod
    def calibrates(cls, settings: TypesSettings) -> bool:
        return settings.importance and not (settings.imatrix and settings.recipe)

    @classmethod
    def missing(cls, settings: TypesSettings) -> list[str]:
        faults = [f"problem.transforms: {package}"] if (package := ggml.missing()) else []
        files = settings.model_dump(include={"base", "imatrix", "recipe"}, exclude_none=True).items()
        absent = [(key, file) for key, file in files if not Path(file).is_file()]
        return [*faults, *(f"problem.transforms.{key}: {file}: no such file" for key, file in absent)]

    def _recipe(self, matrices: Sequence[Matrix]) -> dict[str, str]:
        """Return the type of each of ``matrices`` in the recipe, by name. Raises InputError if one does not fit."""
        from evoprune.problems.language_model.gguf.recipe import TensorTypes

        recipe, slots, types = TensorTypes(Path(self.settings.recipe or "")), slots_of(self.resident, self.base), {}
        for matrix in matrices:
            kinds, width = {recipe.kind(slot.name) for slot in slots[matrix.name]}, matrix.rows(matrix.weight).shape[1]
            if len(kinds) > 1 or not ggml.fits(max(kinds), width):
                name = " and ".join(slot.name for slot in slots[matrix.name])
                raise InputError(f"{name} of {width} weights a row cannot be {' and '.join(kinds)}", str(recipe.path))
            types[matrix.name] = max(kinds)
        return types

    def _importance(self, calibration: Windows | None) -> Tensors:
        if self.settings.imatrix:
            return load_importance(Path(self.settings.imatrix), self.resident, self.base)
        return cached_importance(self.resident, calibration) if calibration else {}

    @classmethod
    def presets_alone(cls, settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
        return presets_alone(settings, alone)

    def uniform(self, share: float) -> list[float]:
        return self._bits.uniform(share)

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return llama.cpp's presets, or the recipe; a type that is no level is replaced as by :meth:`genome_of`.

        Empty if harms are known: the first child of a search by costs is then much better.
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
        """Return the genome of ``kinds``; where a type is no level, of the first level with no more bits."""
        genome = self._bits.nearest(kinds)
        if larger := self._bits.larger(genome, kinds):
            name, kind = self.matrices[larger[0]].name, kinds[larger[0]]
            raise InputError(f"{name} cannot be stored in {kind} by problem.transforms")
        return genome

    def presets(self) -> dict[str, list[str]]:
        """Return the type of each matrix in each of llama.cpp's presets; the model must be dense."""
        from evoprune.problems.language_model.gguf.runtime import presets

        names = [matrix.parameter for matrix in self.matrices]
        by_preset = presets(self.resident.model, self.base, self.settings.importance)
        return {preset: [kinds.get(name, DENSE) for name in names] for preset, kinds in by_preset.items()}

    def prices(self, unit: str) -> Prices:
        """As :meth:`Transform.prices`; bytes are counted in the .gguf file, with its header and tokenizer."""
        if unit != BYTES:
            return [[0.0] * len(gene.levels) for gene in self.genes], dense_cost(self.resident, unit)
        from evoprune.problems.language_model.gguf.write import tensor_bytes

        dense, base = self._dense_bytes, self.base
        slots = slots_of(self.resident, base)
        prices: list[Price] = []
        for matrix, gene in zip(self.matrices, self.genes, strict=True):
            kinds = [base.half if kind == DENSE else kind for kind in gene.levels]
            sizes = [sum(tensor_bytes(kind, slot.shape) for slot in slots[matrix.name]) for kind in kinds]
            prices.append([float(size - sizes[0]) for size in sizes])
        return prices, dense

    @cached_property
    def _dense_bytes(self) -> float:
        from evoprune.problems.language_model.gguf.write import contents

        source = {m.parameter: self._source[m.name] for m in self.matrices if m.name in self._source}
        return float(contents(self.resident.model, self.base, source).bytes)

    @property
    def base(self) -> Base:
        """Metadata of the .gguf file of the dense model, with all its tokens; first read while the model is dense."""
        from evoprune.problems.language_model.gguf.base import find_base

        return find_base(self.resident, self.settings.base)

    def file_bytes(self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]) -> CutBytes:
        """Return the bytes of a file by the genes that prune to ``shapes``, followed by the genes of types.

        ``vocabularies``: :attr:`Transform.vocabularies`, by the place of the gene.
        """
        from evoprune.problems.language_model.gguf.types.file_size import CutBytes

        base = self.base
        kinds = {
            name: (place, [base.half if kind == DENSE else kind for kind in levels])
            for name, (place, levels) in self.kinds(shapes).items()
        }
        return CutBytes(self.resident.model, base, shapes, kinds, vocabularies)

    def timer(self, stack: StackCosts, load: Load, cuts: Sequence[Any]) -> Timer:
        """Return the timer of ``stack``, which has the types; ``cuts``: the kind of each gene that prunes."""
        from evoprune.problems.language_model.gguf.types.latency import IDLE, TYPES, FileTimer

        read = [is_read_whole(self.resident, matrix, load.phase) for matrix in self.matrices]
        both = zip(read, self.matrices, self.genes, strict=True)
        kinds = [(TYPES, gene.levels[0], isinstance(m, ExpertStack)) if whole else IDLE for whole, m, gene in both]
        dense = "types of the source" if self._source else "16 bits"
        return FileTimer(stack, load, [*cuts, *kinds], len(cuts), self, dense)

    def describe(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "types": Path(settings.recipe).name if settings.recipe else list(settings.chosen),
            "importance": Path(settings.imatrix).name if settings.imatrix else settings.importance,
            "source_types": dict(self._type_genes.exact_types) if settings.source_types else False,
            **({"from_source": True} if settings.from_source else {}),
        }

    def remarks(self) -> list[str]:
        unused = {each.block: self.errors.unused_experts(each.stacks[0]) for each in self.resident.mixtures}
        exact = ", ".join(f"{kind} of {count}" for kind, count in self._type_genes.exact_types.items())
        remark = (
            f"its source is quantised, and types reproduce matrices of it ({exact}), so that they look better "
            f"than they are: for claims {'' if self.settings.recipe else 'set source_types: false, or '}"
            "take a source in 16 bits"
        )
        larger = f"{self._larger} matrices keep the type of the source: that of the recipe has no fewer bytes"
        return [*unchosen_remarks(unused), *([remark] if exact else []), *([larger] if self._larger else [])]

    @property
    def _bits(self) -> Bits:
        return Bits(self.genes, [typed.shape[1] for typed in self._copies.typed])
