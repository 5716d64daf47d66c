"""Times the models of genomes in turn with the dense model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from statistics import median
from typing import Any, ClassVar, Protocol

import torch

from evoprune import Genes, InputError
from evoprune.problems.language_model.models.device import processor_name
from evoprune.problems.language_model.models.lazy_weights import execution_device
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.throughput import Load, timer
from evoprune.problems.language_model.transforms.costs import WEIGHTS

_TURN = 0.25  # seconds of one turn, unless a pass takes longer


class GenomeModel(Protocol):
    """A resident model to which genomes are applied."""

    resident: Resident
    genes: Genes

    @property
    def dense(self) -> list[float]:
        """The genome of the dense model."""

    def apply(self, genome: Sequence[float]) -> None:
        """Turn the resident model into that of ``genome``."""

    def temporarily_dense(self) -> AbstractContextManager[None]:
        """Return a context in which the model is dense."""


class Timer(ABC):
    """Times the models of genomes of ``model`` under one ``load``."""

    unit: ClassVar[str] = WEIGHTS
    """Unit of the costs by which times of levels are interpolated."""

    def __init__(self, model: GenomeModel, load: Load, classes: Sequence[Any]) -> None:
        """``classes``: of each gene; the same level of two genes of one class changes the latency equally."""
        self.model, self.load, self.classes = model, load, classes

    @abstractmethod
    def circumstances(self) -> dict[str, str | int]:
        """Return ``runtime`` and its ``version``, ``device``, ``processor``, ``threads`` and ``dtype``."""

    @abstractmethod
    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        """Yield the milliseconds of a pass of the dense model and of the model of ``genome``, for ``seconds``."""

    def gene_classes(self) -> list[list[int]]:
        """Return the places of free genes, a list for each class. Raise :class:`evoprune.InputError` for real genes."""
        places: dict[str, list[int]] = {}
        for place, (gene, of_gene) in enumerate(zip(self.model.genes, self.classes, strict=True)):
            if not gene.free:
                continue
            if not gene.levels or self.model.dense[place]:
                raise InputError(f"gene '{gene.name}' has no levels, from dense on, to be timed", "problem.budget")
            places.setdefault(repr(of_gene), []).append(place)
        return list(places.values())

    def changed_together(self, genes: list[int]) -> list[int]:
        """Return the genes, of ``genes`` of one class, that take a level together in a timed model: by default all."""
        return genes

    def is_monotone(self, gene: int) -> bool:  # noqa: ARG002 - the same for all genes of most timers
        """Return whether latency does not increase with the level of ``gene``; if it may, each level is timed."""
        return True


class PassTimer(Timer):
    """Times passes of the resident model, as transformers generates with it."""

    def circumstances(self) -> dict[str, str | int]:
        resident = self.model.resident
        device = execution_device(resident.model)
        return {
            "runtime": "transformers",
            "version": torch.__version__,
            "device": device.type,
            "processor": processor_name(device),
            "threads": torch.get_num_threads(),
            "dtype": resident.dtype,
        }

    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        dense, run, end = self._dense, self._start(genome), time.perf_counter() + seconds
        while True:
            yield self._turn(self.model.dense, dense), self._turn(genome, run)
            if time.perf_counter() >= end:
                return

    @cached_property
    def _dense(self) -> Callable[[], float]:
        return self._start(self.model.dense)

    def _start(self, genome: Sequence[float]) -> Callable[[], float]:
        self.model.apply(genome)
        try:
            return timer(self.model.resident.model, self.load)
        except ValueError as error:
            raise InputError(str(error), "problem.budget.length") from None

    def _turn(self, genome: Sequence[float], run: Callable[[], float]) -> float:
        """Return the median milliseconds of passes after the first, which warms up."""
        self.model.apply(genome)
        end, passes = time.perf_counter() + _TURN, [run()]
        while time.perf_counter() < end:
            passes.append(run())
        return median(passes[1:] or passes)
