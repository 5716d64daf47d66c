"""Genomes with given bits a weight, and llama.cpp's presets as genomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from evoprune import Genes, InputError
from evoprune.plugins import note
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.types.matrices import DENSE
from evoprune.problems.language_model.gguf.types.settings import TypesSettings
from evoprune.problems.language_model.transforms.transform import ModelMaker


class Bits:
    """Bits a weight at each level of each of ``genes``, for matrices whose rows have ``widths``."""

    def __init__(self, genes: Genes, widths: Sequence[int]) -> None:
        self._genes, self._widths = genes, widths
        self._bits = [
            [level_bits(kind, width) for kind in gene.levels] for gene, width in zip(genes, widths, strict=True)
        ]

    def uniform(self, share: float) -> list[float]:
        """Return the genome with the same bits in all genes, ``share`` of the way from the most to the fewest.

        Each gene has the first level with no more bits, or the last; for a share of 1 all have their last level.
        """
        if share == 1:
            return [gene.up for gene in self._genes]
        steps = sorted({bits for of_gene in self._bits for bits in of_gene}, reverse=True)
        most = steps[round(share * (len(steps) - 1))]
        return [_at_most(most, of_gene) for of_gene in self._bits]

    def nearest(self, kinds: Sequence[str]) -> list[float]:
        """Return the genome of ``kinds``; a type that is no level becomes the first with no more bits, or the last."""
        return [
            float(gene.levels.index(kind)) if kind in gene.levels else _at_most(level_bits(kind, width), of_gene)
            for gene, kind, width, of_gene in zip(self._genes, kinds, self._widths, self._bits, strict=True)
        ]

    def larger(self, genome: Sequence[float], kinds: Sequence[str]) -> list[int]:
        """Return the places of genes whose level in ``genome`` has more bits than their type of ``kinds``."""
        rows = zip(genome, kinds, self._widths, self._bits, strict=True)
        return [
            place
            for place, (level, kind, width, of_gene) in enumerate(rows)
            if of_gene[int(level)] > level_bits(kind, width)
        ]


def presets_alone(settings: TypesSettings, alone: Callable[[TypesSettings], Any]) -> dict[str, ModelMaker]:
    """Return llama.cpp's presets of the dense model, without duplicates; see :meth:`Transform.presets_alone`."""
    try:
        presets = alone(settings).session.transform.transforms[0].presets()
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
    transform = problem.session.transform.transforms[0]
    return problem, transform.genome_of(kinds), {"dense": transform.dense}


def level_bits(kind: str, width: int) -> float:
    """Return the bits of a weight in rows of ``width`` weights in ``kind``, a type or dense."""
    return 16.0 if kind == DENSE else 8 * ggml.row_bytes(kind, width) / width


def _at_most(most: float, levels: Sequence[float]) -> float:
    return float(next((level for level, bits in enumerate(levels) if bits <= most), len(levels) - 1))
