"""The .gguf file of a model whose matrices have types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprune import InputError, Price
from evoprune.plugins import note
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.gguf.types.genes import TypedMatrix
from evoprune.problems.language_model.gguf.types.matrices import DENSE, specs_of
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.costs import Prices
from evoprune.problems.language_model.transforms.form import Encoded
from evoprune.problems.language_model.transforms.shapes import Kinds, Shapes
from evoprune.problems.language_model.transforms.transform import ModelMaker

if TYPE_CHECKING:  # they import gguf, which not everyone has
    from evoprune.problems.language_model.gguf.base import Base
    from evoprune.problems.language_model.gguf.names import TensorSpec
    from evoprune.problems.language_model.gguf.types.file_size import CutBytes


class TypedFile:
    """The file of the model of ``resident``, whose ``matrices`` have types; ``source``: their own types, by name."""

    def __init__(
        self, resident: Resident, settings: TypesSettings, matrices: Sequence[Matrix], source: Mapping[str, GgmlMatrix]
    ) -> None:  # fmt: skip
        self._resident, self._settings, self._matrices, self._source = resident, settings, matrices, source

    @property
    def base(self) -> Base:
        """Metadata of the file of the dense model, with all its tokens; first read while the model is dense."""
        from evoprune.problems.language_model.gguf.base import find_base

        return find_base(self._resident, self._settings.base)

    def recipe(self, path: Path) -> dict[str, str]:
        """Return the type of each matrix in the recipe ``path``, by name. Raises InputError if one does not fit."""
        from evoprune.problems.language_model.gguf.recipe import TensorTypes

        recipe, specs, types = TensorTypes(path), specs_of(self._resident, self.base), {}
        for matrix in self._matrices:
            kinds, width = {recipe.kind(spec.name) for spec in specs[matrix.name]}, matrix.rows(matrix.weight).shape[1]
            if len(kinds) > 1 or not ggml.fits(max(kinds), width):
                name = " and ".join(spec.name for spec in specs[matrix.name])
                raise InputError(f"{name} of {width} weights a row cannot be {' and '.join(kinds)}", str(path))
            types[matrix.name] = max(kinds)
        return types

    def presets(self) -> dict[str, list[str]]:
        """Return the type of each matrix in each of llama.cpp's presets; the model must be dense."""
        from evoprune.problems.language_model.gguf.runtime import presets

        names = [matrix.parameter for matrix in self._matrices]
        by_preset = presets(self._resident.model, self.base, self._settings.importance)
        return {preset: [kinds.get(name, DENSE) for name in names] for preset, kinds in by_preset.items()}

    def prices(self, typed: Sequence[TypedMatrix]) -> Prices:
        """Return the changes of the file's bytes by the levels of ``typed``, and the bytes of the dense model's."""
        dense, specs, prices = self._dense_bytes, specs_of(self._resident, self.base), list[Price]()
        for each in typed:
            sizes = self._sizes(specs[each.copy.matrix.name], each.gene.levels)
            prices.append([size - sizes[0] for size in sizes])
        return prices, dense

    def bytes_of(self, kinds: Sequence[str]) -> float:
        """Return the bytes of the file of the dense model whose matrices have the types ``kinds``."""
        changed, specs = self._dense_bytes, specs_of(self._resident, self.base)
        for matrix, kind in zip(self._matrices, kinds, strict=True):
            source = self._source.get(matrix.name)
            before, after = self._sizes(specs[matrix.name], [source.kind if source else DENSE, kind])
            changed += after - before
        return changed

    def _sizes(self, specs: Sequence[TensorSpec], kinds: Sequence[str]) -> list[float]:
        """Return the bytes of the tensors ``specs`` in each of ``kinds``."""
        from evoprune.problems.language_model.gguf.write import tensor_bytes

        stored = [self.base.half if kind == DENSE else kind for kind in kinds]
        return [float(sum(tensor_bytes(kind, spec.shape) for spec in specs)) for kind in stored]

    @cached_property
    def _dense_bytes(self) -> float:
        from evoprune.problems.language_model.gguf.write import contents

        source = {each.parameter: self._source[each.name] for each in self._matrices if each.name in self._source}
        return float(contents(self._resident.model, self.base, source).bytes)

    def pruned_bytes(
        self, shapes: Shapes, kinds: Kinds, vocabularies: Mapping[int, Sequence[Sequence[int] | None]]
    ) -> CutBytes:  # fmt: skip
        """See :meth:`.transforms.form.Form.file_costs`."""
        from evoprune.problems.language_model.gguf.types.file_size import CutBytes

        base = self.base
        in_file = {
            name: (place, [base.half if kind == DENSE else kind for kind in levels])
            for name, (place, levels) in kinds.items()
        }
        return CutBytes(self._resident.model, base, shapes, in_file, vocabularies)

    def write(self, path: Path, encoded: Mapping[str, Encoded]) -> None:
        """Write the present model, with the parameters ``encoded``. Raises OSError."""
        from evoprune.problems.language_model.gguf.write import contents

        contents(self._resident.model, self.base, encoded).write(path)


def presets_alone(settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
    """Return llama.cpp's presets of the dense model, without duplicates; see :meth:`Transform.presets_alone`."""
    try:
        presets = alone(settings).session.transform.form.file.presets()
    except InputError as error:
        note(f"there are no presets to compare with: {error}")
        return {}
    names = {tuple(kinds): name for name, kinds in reversed(presets.items())}  # of equal presets, the first
    return {name: partial(_preset, settings, alone, kinds) for kinds, name in names.items()}


def _preset(
    settings: TypesSettings, alone: Callable[[TypesSettings], Any], kinds: Sequence[str]
) -> tuple[Any, list[float], dict[str, list[float]]]:
    """Return a problem with the types of a preset, the genome of ``kinds``, and the dense genome.

    A preset's type is replaced by one with no more bytes and no larger error, if there is one.
    """
    problem = alone(settings.model_copy(update={"types": tuple(sorted({*kinds} - {DENSE})), "recipe": None}))
    types = problem.session.transform.form
    return problem, types.type_genes.genome_of(kinds), {"dense": types.dense}
