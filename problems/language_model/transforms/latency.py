"""Times the models of genomes, in turn with the dense one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from evoprune import InputError
from evoprune.problems.language_model.models.device import processor_name
from evoprune.problems.language_model.models.throughput import Load, timer
from evoprune.problems.language_model.transforms.costs import WEIGHTS

if TYPE_CHECKING:
    from evoprune.problems.language_model.transforms.stack_costs import StackCosts

_TURN = 0.25  # seconds of one turn, if a pass does not take longer

Run = Callable[[], float]  # runs a pass, and returns its milliseconds

Genome = list[float]


class Timer(ABC):
    """Times the models of ``transform`` under one ``load``."""

    unit: ClassVar[str] = WEIGHTS
    """Times of levels between others are interpolated by their costs in this unit."""

    def __init__(self, transform: StackCosts, load: Load, kinds: Sequence[Any]) -> None:
        """``kinds``: the kind of each gene; the same level of genes of one kind changes the time alike."""
        self.transform, self.load, self.kinds = transform, load, kinds

    @abstractmethod
    def circumstances(self) -> dict[str, Any]:
        """JSON-able: ``runtime`` and its ``version``, ``device``, ``processor``, ``threads`` and ``dtype``."""

    @abstractmethod
    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        """For each round the milliseconds of the dense model's pass and of that of ``genome``; for ``seconds``."""

    def sizes(self) -> list[list[float]]:
        """The cost that each level of each gene alone adds to that of the dense model."""
        budget, dense = self.transform.budget(self.unit, None), self.transform.dense
        return [
            [budget.price(dense, place, level) for level in range(len(gene.levels))]
            for place, gene in enumerate(self.transform.genes)
        ]

    def alike(self) -> list[list[int]]:
        classes: dict[str, list[int]] = {}
        for place, (gene, kind) in enumerate(zip(self.transform.genes, self.kinds, strict=True)):
            if not gene.free:
                continue
            if not gene.levels or self.transform.dense[place]:
                raise InputError(f"gene '{gene.name}' has no levels, from dense on, to be timed", "problem.budget")
            classes.setdefault(repr(kind), []).append(place)
        return list(classes.values())

    def together(self, genes: list[int]) -> list[int]:
        """The genes among alike ``genes`` that take a level together in a model that is timed: all by default."""
        return genes

    def falls(self, gene: int) -> bool:  # noqa: ARG002 - the same for all genes of most
        """Return whether each level of ``gene`` is as fast as the one before; if not, each is timed by itself."""
        return True


class PassTimer(Timer):
    """Times passes of the resident model, as transformers generates with it."""

    def circumstances(self) -> dict[str, Any]:
        resident = self.transform.resident
        return {
            "runtime": "transformers",
            "version": torch.__version__,
            "device": resident.device.type,
            "processor": processor_name(resident.device),
            "threads": torch.get_num_threads(),
            "dtype": resident.dtype,
        }

    def rounds(self, genome: Sequence[float], seconds: float) -> Iterator[tuple[float, float]]:
        own = list(genome)
        yield from in_turn(self.transform, (self.transform.dense, self._dense), (own, self._start(own)), seconds)

    @cached_property
    def _dense(self) -> Run:
        return self._start(self.transform.dense)

    def _start(self, genome: Genome) -> Run:
        self.transform.apply(genome)
        try:
            return timer(self.transform.resident.model, self.load)
        except ValueError as error:
            raise InputError(str(error), "problem.budget.length") from None


def in_turn(
    transform: StackCosts, dense: tuple[Genome, Run], other: tuple[Genome, Run], seconds: float
) -> Iterator[tuple[float, float]]:
    """For each round, at least one, the milliseconds of both genomes' passes, median of a turn after warming up."""
    end = time.perf_counter() + seconds
    yield _turn(transform, dense), _turn(transform, other)
    while time.perf_counter() < end:
        yield _turn(transform, dense), _turn(transform, other)


def _turn(transform: StackCosts, model: tuple[Genome, Run]) -> float:
    genome, run = model
    transform.apply(genome)
    end, passes = time.perf_counter() + _TURN, [run()]
    while time.perf_counter() < end:
        passes.append(run())
    return median(passes[1:] or passes)
