"""The models that llama.cpp's own quantiser would make, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from evoprune import Rival
from problems.quantization.types.levels import DENSE
from problems.quantization.types.settings import TypesSettings

Alone = Callable[[TypesSettings], Any]


def rivals(settings: TypesSettings, alone: Alone) -> Iterator[Rival]:
    """llama.cpp's presets of the whole model, once where several come to the same types.

    ``alone`` makes the problem that has types alone, by these settings.
    """
    presets = alone(settings).session.transform.presets()
    names = {tuple(kinds): name for name, kinds in reversed(presets.items())}  # of several, the first
    for kinds, name in names.items():
        yield Rival("presets", name, partial(_preset, settings, alone, kinds))


def _preset(settings: TypesSettings, alone: Alone, kinds: Sequence[str]) -> tuple[Any, list[float]]:
    """A problem that has the types of a preset, and the genome in which each matrix has that of ``kinds``."""
    problem = alone(settings.model_copy(update={"types": tuple(sorted({*kinds} - {DENSE}))}))
    return problem, [float(gene.levels.index(kind)) for gene, kind in zip(problem.genes, kinds, strict=True)]
