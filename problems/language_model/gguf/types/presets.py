"""llama.cpp's presets of the dense model, as problems of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from evoprune import InputError
from evoprune.plugins import note
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.transforms.transform import ModelMaker


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
