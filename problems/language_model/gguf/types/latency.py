"""Times models in llama.cpp, as .gguf files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from evoprune import InputError, Stopped
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.runtime import latencies
from evoprune.problems.language_model.models.device import processor_name
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.transforms.costs import BYTES
from evoprune.problems.language_model.transforms.latency import GenomeModel, Timer

_PROCESSES = 2
"""Processes that time a model: in some, the same file is a third slower from start to end."""

TYPES, IDLE = "types", "idle"
"""Classes of genes that choose the type of a matrix.

A type saves the same time per weight in matrices of any shape, but less in stacked experts. Of an idle matrix a pass
reads only some rows, so that its type saves no time.
"""


class FileTimer(Timer):
    """Times files of a stack that quantises matrices and may prune, with one sequence at a time."""

    unit = BYTES

    def __init__(
        self, model: GenomeModel, load: Load, classes: Sequence[Any], cuts: int, write: Callable[[Path], None],
        dense: str,
    ) -> None:  # fmt: skip
        """``classes``: of each gene the changed shapes, :data:`IDLE`, or a tuple that begins with :data:`TYPES`.

        The first ``cuts`` genes of ``model`` prune, the others choose types. ``write``: writes the present model to a
        file, or raises OSError. ``dense``: the types of the dense model.
        """
        super().__init__(model, load, classes)
        if load.batch > 1:
            raise InputError("llama.cpp is timed with one sequence; expected 1", "problem.budget.batch")
        self._cuts, self._write, self._dense_type = cuts, write, dense
        self._timed: list[float] | None = None

    def circumstances(self) -> dict[str, str | int]:
        cpu = torch.device("cpu")
        return {
            "runtime": "llama.cpp",
            "version": ggml.version(),
            "device": cpu.type,
            "processor": processor_name(cpu),
            "threads": torch.get_num_threads(),
            "dtype": self._dense_type,
        }

    def gene_classes(self) -> list[list[int]]:
        """As :meth:`Timer.gene_classes`, without idle genes."""
        return [genes for genes in super().gene_classes() if self.classes[genes[0]] != IDLE]

    def changed_together(self, genes: list[int]) -> list[int]:
        return genes[len(genes) // 2 :] if genes[0] < self._cuts else genes

    def is_monotone(self, gene: int) -> bool:
        return bool(self.classes[gene][:1] != (TYPES,))

    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        dense_file = self._dense
        if self._timed != list(genome):
            self._file, self._timed = self._written(genome, "other"), list(genome)
        for _ in range(_PROCESSES):
            dense, other = latencies([dense_file, self._file], self.load, seconds / _PROCESSES)
            yield dense, other

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()

    @cached_property
    def _dense(self) -> Path:
        return self._written(self.model.dense, "dense")

    def _written(self, genome: Sequence[float], name: str) -> Path:
        path = Path(self._folder.name) / f"{name}.gguf"
        self.model.apply(genome)
        try:
            self._write(path)
        except OSError as error:
            remedy = "set TMPDIR to a folder with room for two files of the model"
            raise Stopped(f"cannot write {path}: {error.strerror}; {remedy}") from error
        return path
