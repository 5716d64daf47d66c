"""The transform ``types``: a GGUF type for each matrix."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from evoprune import Genes, InputError, Term
from evoprune.plugins import note
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.types.copies import Copies
from evoprune.problems.language_model.gguf.types.encodings import Encodings
from evoprune.problems.language_model.gguf.types.errors import cached_errors
from evoprune.problems.language_model.gguf.types.file import TypedFile, presets_alone
from evoprune.problems.language_model.gguf.types.genes import TypedMatrix, TypeGenes
from evoprune.problems.language_model.gguf.types.importance import cached_importance, load_importance
from evoprune.problems.language_model.gguf.types.matrices import (
    DENSE,
    check_types,
    is_read_whole,
    is_smaller,
    typed_matrices,
)
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.gguf.types.source import source_types
from evoprune.problems.language_model.models.blocks import ExpertStack
from evoprune.problems.language_model.models.experts import unchosen_remarks
from evoprune.problems.language_model.models.memory import Placement
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, dense_cost
from evoprune.problems.language_model.transforms.form import Encoded, Form
from evoprune.problems.language_model.transforms.latency import GenomeModel, Timer
from evoprune.problems.language_model.transforms.shapes import Shapes
from evoprune.problems.language_model.transforms.transform import KeptIndices, ModelMaker, Transform


class Types(Form):
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
    zeros_refused = "zeros save no byte in a .gguf file"

    def __init__(self, resident: Resident, settings: TypesSettings, texts: Texts | None) -> None:
        super().__init__(resident, settings, texts)
        self.matrices = matrices = typed_matrices(resident)
        self._chosen = settings.chosen({matrix.rows(matrix.weight).shape[1] for matrix in matrices})
        source: Mapping[str, GgmlMatrix] = {}
        if settings.from_source:
            if not resident.source.endswith(".gguf"):
                raise InputError("is for a model that is a .gguf file", "problem.transforms.from_source")
            from evoprune.problems.language_model.gguf.base import find_base

            source = source_types(resident, find_base(resident))
        self.file = TypedFile(resident, settings, matrices, source)
        recipe = self.file.recipe(Path(settings.recipe)) if settings.recipe else {}
        kinds = sorted({*recipe.values()} - ggml.FLOATS) if recipe else self._chosen
        check_types(settings.types or (), matrices)
        smaller = {kind: [each for each in matrices if is_smaller(each, kind, source.get(each.name))] for kind in kinds}
        chosen = {kind: [each for each in own if recipe.get(each.name, kind) == kind] for kind, own in smaller.items()}
        calibration = self.texts.calibration if self.calibrates(settings) else None
        importance = cached_importance(resident, calibration) if calibration and not settings.imatrix else {}
        if settings.imatrix:
            importance = load_importance(Path(settings.imatrix), resident, self.file.base)
        self.errors = errors = cached_errors(resident, matrices, chosen, importance, None if recipe else calibration)
        self._copies = Copies(resident, matrices, Encodings(errors.importance), source)
        typed = []
        for each in self._copies.copies:
            sizes = errors.sizes(each.matrix, kinds, settings.source_types, each.source)
            typed.append(TypedMatrix.of(each, sizes, errors))
        self.type_genes = TypeGenes(typed, errors)
        same = {name for name, own in source.items() if own.kind == recipe.get(name)}
        self._larger = len((recipe.keys() & source.keys()) - same - {name for name, _ in errors.relative})
        self._has_source = bool(source)
        if not self.genes.free and not source:
            if settings.recipe:
                raise InputError("names no type that quantises a matrix", settings.recipe)
            if errors.relative:
                why = "false leaves out all types, as each reproduces its matrices: give other types"
                raise InputError(why, "problem.transforms.source_types")
            raise InputError("no type fits the model's matrices: types need rows of a multiple of 32", "problem.model")
        if not resident.streams:
            copies = sum(matrix.weight.nbytes for matrix in matrices)
            Placement.of("the search", resident.device, 0, copies, "set problem.memory to stream")

    @classmethod
    def calibrates(cls, settings: TypesSettings) -> bool:
        return settings.importance and not (settings.imatrix and settings.recipe)

    @classmethod
    def missing(cls, settings: TypesSettings) -> list[str]:
        faults = [f"problem.transforms: {package}"] if (package := ggml.missing()) else []
        files = settings.model_dump(include={"base", "imatrix", "recipe"}, exclude_none=True).items()
        absent = [(key, file) for key, file in files if not Path(file).is_file()]
        return [*faults, *(f"problem.transforms.{key}: {file}: no such file" for key, file in absent)]

    @classmethod
    def presets_alone(cls, settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
        return presets_alone(settings, alone)

    @property
    def genes(self) -> Genes:
        return self.type_genes.genes

    def fit(self, shapes: Shapes) -> None:
        self.type_genes = self.type_genes.fit(shapes)
        if not self.genes.free and not self._has_source:
            why = "no type fits what cuts may leave: give steps of 32 channels, or of 256 for K-types"
            raise InputError(why, "problem.transforms")

    def bare(self) -> Transform:
        """As :meth:`Transform.bare`: all types are levels."""
        bare = copy(self)
        bare.type_genes = self.type_genes.of_all_types()
        return bare

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        self.type_genes = self.type_genes.use_times(times)

    def swap_out(self) -> None:
        self._copies.swap_out()

    def swap_in(self, genome: Sequence[float], kept: KeptIndices) -> None:
        self._copies.swap_in(self.type_genes.chosen(genome), kept, blank=self.type_genes.all_types)

    def block_fingerprints(self) -> Sequence[Hashable]:
        return self._copies.fingerprints(1 + self.resident.matrices[-1].block)

    def encoded(self) -> Mapping[str, Encoded]:
        return self._copies.encoded()

    def encode(self, model: Any, genome: Sequence[float], kept: KeptIndices) -> Mapping[str, Encoded]:
        return self._copies.encode(model, self.type_genes.chosen(genome), kept)

    def prices(self, unit: str) -> Prices:
        """As :meth:`Transform.prices`; bytes are counted in the .gguf file, with its header and tokenizer."""
        if unit != BYTES:
            return [[0.0] * len(gene.levels) for gene in self.genes], dense_cost(self.resident, unit)
        return self.file.prices(self.type_genes.matrices)

    def file_costs(
        self, shapes: Shapes, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]
    ) -> tuple[Sequence[Term], Callable[[tuple[int, ...]], float]]:
        counted = self.file.pruned_bytes(shapes, self.kinds(shapes), vocabularies)
        return counted.terms, counted.rest

    def timer(self, model: GenomeModel, load: Load, cuts: Sequence[Any]) -> Timer:
        from evoprune.problems.language_model.gguf.types.latency import IDLE, TYPES, FileTimer

        classes = [
            (TYPES, gene.levels[0], isinstance(matrix, ExpertStack))
            if is_read_whole(self.resident, matrix, load.phase)
            else IDLE
            for matrix, gene in zip(self.matrices, self.genes, strict=True)
        ]

        dense = "types of the source" if self._has_source else DENSE

        def write(path: Path) -> None:
            self.file.write(path, self.encoded())

        return FileTimer(model, load, [*cuts, *classes], len(cuts), write, dense)

    def uniform(self, share: float) -> list[float]:
        return self.type_genes.uniform(share)

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return llama.cpp's presets, or the recipe; see :meth:`.genes.TypeGenes.nearest`.

        Empty if divergences are known: the first child of a search by costs is then much better.
        """
        if self.errors.divergences:
            return []
        if self.settings.recipe:
            return [self.uniform(1)]
        try:
            presets = self.file.presets()
        except InputError as error:
            note(f"the search starts without llama.cpp's presets: {error}")
            return []
        return [self.type_genes.nearest(kinds) for kinds in presets.values()]

    def describe(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "types": Path(settings.recipe).name if settings.recipe else list(self._chosen),
            "importance": Path(settings.imatrix).name if settings.imatrix else settings.importance,
            "source_types": dict(self.type_genes.exact_types) if settings.source_types else False,
            **({"from_source": True} if settings.from_source else {}),
        }

    def remarks(self) -> list[str]:
        unused = {each.block: self.errors.unused_experts(each.stacks[0]) for each in self.resident.mixtures}
        exact = ", ".join(f"{kind} of {count}" for kind, count in self.type_genes.exact_types.items())
        remark = (
            f"its source is quantised, and types reproduce matrices of it ({exact}), so that they look better "
            f"than they are: for claims {'' if self.settings.recipe else 'set source_types: false, or '}"
            "take a source in 16 bits"
        )
        larger = f"{self._larger} matrices keep the type of the source: that of the recipe has no fewer bytes"
        return [*unchosen_remarks(unused), *([remark] if exact else []), *([larger] if self._larger else [])]
