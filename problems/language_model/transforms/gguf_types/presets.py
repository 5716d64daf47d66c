"""Genomes by the bits of a weight, and llama.cpp's presets as genomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from evoprune import Genes, InputError
from evoprune.console.phase import note
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.transforms.gguf_types.matrices import DENSE
from evoprune.problems.language_model.transforms.gguf_types.settings import TypesSettings
from evoprune.problems.language_model.transforms.transform import ModelMaker


class Bits:
    """The bits of a weight in each level of each of ``genes``, matrices whose rows have ``widths``."""

    def __init__(self, genes: Genes, widths: Sequence[int]) -> None:
        self._genes, self._widths = genes, widths
        self._of = [[_bits(kind, width) for kind in gene.levels] for gene, width in zip(genes, widths, strict=True)]

    def uniform(self, share: float) -> list[float]:
        """The same bits for all, ``share`` of the way from the most to the fewest; at the end the last level of each.

        Each gene takes the first level that has no more bits, or the last.
        """
        if share == 1:
            return [gene.up for gene in self._genes]
        steps = sorted({own for of_gene in self._of for own in of_gene}, reverse=True)
        most = steps[round(share * (len(steps) - 1))]
        return [_at_most(most, of_gene) for of_gene in self._of]

    def nearest(self, kinds: Sequence[str]) -> list[float]:
        """For each gene its type of ``kinds``; where that is no level, the first with no more bits, or the last."""
        return [
            float(gene.levels.index(kind)) if kind in gene.levels else _at_most(_bits(kind, width), of_gene)
            for gene, kind, width, of_gene in zip(self._genes, kinds, self._widths, self._of, strict=True)
        ]

    def larger(self, genome: Sequence[float], kinds: Sequence[str]) -> list[int]:
        """The places of the genes whose level in ``genome`` has more bits than their type of ``kinds``."""
        rows = zip(genome, kinds, self._widths, self._of, strict=True)
        return [
            place
            for place, (level, kind, width, of_gene) in enumerate(rows)
            if of_gene[int(level)] > _bits(kind, width)
        ]


def presets_alone(settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
    """llama.cpp's presets of the whole model, once where several come to the same types.

    ``alone`` makes the problem of types alone, by settings.
    """
    try:
        presets = alone(settings).session.transform.transforms[0].presets()
    except InputError as error:
        note(f"there are no presets to compare with: {error}")
        return {}
    names = {tuple(kinds): name for name, kinds in reversed(presets.items())}  # of several, the first
    return {name: partial(_preset, settings, alone, kinds) for kinds, name in names.items()}


def _preset(
    settings: TypesSettings, alone: Callable[[TypesSettings], Any], kinds: Sequence[str]
) -> tuple[Any, list[float], dict[str, list[float]]]:
    """A problem that has the types of a preset, the genome with that of ``kinds`` for each matrix, and the dense one.

    Another type with no more bytes and no larger error takes the place of a preset's.
    """
    problem = alone(settings.model_copy(update={"types": tuple(sorted({*kinds} - {DENSE})), "recipe": None}))
    transform = problem.session.transform.transforms[0]
    return problem, transform.genome_of(kinds), {"dense": transform.dense}


def _bits(kind: str, width: int) -> float:
    return 16.0 if kind == DENSE else 8 * ggml.row_bytes(kind, width) / width


def _at_most(most: float, of_levels: Sequence[float]) -> float:
    return float(next((level for level, own in enumerate(of_levels) if own <= most), len(of_levels) - 1))
