"""Times models as .gguf files in llama.cpp."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from evoprune import InputError
from evoprune.budget import Price
from problems.language_model.clock import Clock, grouped
from problems.language_model.gguf.base import Base
from problems.language_model.gguf.find import find_base
from problems.language_model.gguf.runtime import milliseconds
from problems.language_model.gguf.write import contents
from problems.language_model.speed import Load
from problems.language_model.transform import Transform


class Files(Clock):
    """Files of a transform that gives matrices other types; the dense one has 16 bits. Of one sequence at a time."""

    runtime = "llama.cpp"

    def __init__(self, transform: Transform, load: Load, shapes: Sequence[tuple[int, ...]]) -> None:
        """``shapes``: of the matrix of each gene. Raises :class:`evoprune.InputError` for several sequences."""
        super().__init__(transform, load)
        if load.batch > 1:
            raise InputError("llama.cpp is timed with one sequence; expected 1", "problem.budget.batch")
        self._shapes = shapes

    def sizes(self) -> list[Price]:
        """Bytes of the file."""
        return self.transform.byte_prices()[0]

    def alike(self) -> list[list[int]]:
        """Matrices of equal shapes that can have the same types."""
        return grouped(self.transform, self._shapes)

    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        """One pair, of medians: a new process times both files in turn."""
        dense, other = milliseconds([self._dense, self._written(genome, "other")], self.load, seconds)
        yield dense, other

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    @cached_property
    def _base(self) -> Base:
        return find_base(self.transform.resident, self.transform.base)

    @cached_property
    def _dense(self) -> Path:
        return self._written(self.transform.dense, "dense")

    def _written(self, genome: Sequence[float], name: str) -> Path:
        path = Path(self._folder.name) / f"{name}.gguf"
        self.transform.apply(genome)
        contents(self.transform.resident.model, self._base, self.transform.encoded()).write(path)
        return path
