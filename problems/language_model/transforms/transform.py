"""The interface of transforms, which make a resident language model smaller.

A transform is registered under ``evoprune.transforms``. :mod:`evoprune.problems.language_model.testing` checks the
contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from evoprune import Additive, Budget, Gene, Genes, InputError, Price
from evoprune.interfaces.export import Rival
from evoprune.interfaces.schema import Checked
from evoprune.problems.language_model.models.experts import idle_parameters
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts

WEIGHTS = "weights"  # of the blocks' matrices
PARAMETERS = "parameters"  # of the whole model
ACTIVE = "active parameters"  # without those of experts that a token does not choose
ATTENTION = "attention width"  # heads times head size, summed over the blocks
BYTES = "bytes"  # of the file that holds the model

Prices = tuple[list[Price], float]
"""The cost of each gene, and the cost that does not depend on the genes; see :class:`evoprune.Additive`."""

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""The parts of a block: its attention and its MLP, and their units."""
EXPERTS = "mlp experts"

RECENT_BYTES = 2**29  # bytes of recent results that take about as long to make as a candidate takes to be scored
_MOST_INITIAL = 3  # each is scored on all data
_STEPS = 2**20  # of the shares that the uniform genome is chosen from


@dataclass(frozen=True)
class Needs:
    """A transform's needs, as far as they are known: ``statistics`` of the calibration text, bytes, seconds.

    ``memory``: beside the model; ``disk``: of the tensors that are kept for later runs. ``updates``: of weights, after
    the search. ``quantising``: seconds, summed over all threads.
    """

    statistics: frozenset[str] = frozenset()
    updates: bool = False
    memory: int = 0
    disk: int = 0
    quantising: float = 0.0


class Transform(ABC):
    """Applies genomes to a resident model, in place; applying ``dense`` restores it.

    The model is dense when a transform is made. The same genome gives exactly the same model on the same device,
    whatever was applied before. A subclass has ``genes``, ``apply``, ``marks`` and ``prices``; all else has a default.
    """

    Settings: ClassVar[type[Checked]] = Checked
    """Its keys in the YAML file, besides ``use``."""

    units: Collection[str] = (WEIGHTS,)
    """The units that :meth:`prices` knows: weights at least."""

    sparse: bool = False
    """True if it sets weights to zero in place, where they take as much room as before."""

    vocabularies: Sequence[Sequence[int] | None] = ()
    """Of one that leaves out tokens: the remaining ones at each level of its only gene, None for all."""

    def __init__(self, resident: Resident, settings: Any, texts: Texts | None) -> None:
        """Raise :class:`evoprune.InputError` for a model that it cannot change.

        ``texts.calibration`` may be read where :meth:`calibrates` says so. Without ``texts`` it gives shapes alone.
        """
        self.resident, self.settings, self._texts = resident, settings, texts

    @property
    def texts(self) -> Texts:
        assert self._texts is not None
        return self._texts

    @property
    @abstractmethod
    def genes(self) -> Genes:
        """The genes of the search. Transforms that are combined must have genes of different names."""

    @abstractmethod
    def apply(self, genome: Sequence[float]) -> None:
        """Make the resident model that of ``genome``. Write only what differs from the genome applied before."""

    @abstractmethod
    def marks(self) -> Sequence[Hashable]:
        """For each block, a value whose ``repr`` identifies its present weights: equal marks mean equal blocks."""

    @abstractmethod
    def prices(self, unit: str) -> Prices:
        """The costs of genomes in ``unit``, one of :attr:`units`."""

    @property
    def parts(self) -> frozenset[str]:
        """The :data:`PARTS` of a block that it changes: transforms of different parts can be combined."""
        return frozenset(PARTS)

    @property
    def dense(self) -> list[float]:
        """The genome that changes nothing: by default the lowest value, or first level, of each gene."""
        return [gene.low for gene in self.genes]

    def uniform(self, share: float) -> list[float]:
        """The genome that takes the ``share``, in [0, 1], of the range of each gene: the baseline of searches."""
        return at_share(self.genes, share)

    def initial_genomes(self) -> Sequence[list[float]]:
        """Genomes that are known to be good, for a search to start with."""
        return []

    def costs(self, unit: str) -> Prices:
        """As :meth:`prices`; bytes are those of all parameters, as the model runs, unless it knows better."""
        if unit in self.units:
            return self.prices(unit)
        if unit == ACTIVE:
            prices, total = self.costs(PARAMETERS)
            return prices, total - idle_parameters(self.resident.model)
        if unit == BYTES:
            return scaled(self.costs(PARAMETERS), self.resident.model.dtype.itemsize)
        known = ", ".join(self.units)
        raise InputError(f"{type(self).__name__} counts in {known}, not in '{unit}'", "problem.budget")

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """At most ``limit`` of ``scale`` times the cost in ``unit``, which people call ``name``."""
        prices, fixed = scaled(self.costs(unit), scale)
        return Additive(self.genes, prices, limit, name or unit, fixed)

    def measures(self) -> Mapping[str, Any]:
        """JSON-able facts about the model as it is now, for the history."""
        return {}

    def describe(self) -> dict[str, Any]:
        """JSON-able facts that a score depends on, for protocols."""
        return {}

    def remarks(self) -> list[str]:
        """Warnings about this model, shown before the search: phrases for a line of progress."""
        return []

    def told(self, genome: Sequence[float]) -> list[str]:  # noqa: ARG002 - most cuts are told by figures
        """Lines for people about the model of ``genome``."""
        return []

    @property
    def late(self) -> bool:
        """True if :meth:`apply` only changes how layers make weights, by ``models/late.py``."""
        return False

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than :meth:`apply`."""
        return False

    def finalise(self, genome: Sequence[float]) -> None:
        """Make the resident model the final one of ``genome``, including updates of the remaining weights."""
        self.apply(genome)

    @property
    def plain(self) -> bool:
        """True if the model as it is now can be saved in a form that transformers loads, after :meth:`write`."""
        return True

    def write(self, model: Any) -> None:  # noqa: B027 - most transforms change values only
        """Change ``model``, a copy of the final resident model, into the model that is saved, if :attr:`plain`."""

    def inputs_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - most leave all
        """The remaining inputs, int64 in order, of matrices that lose some, by the matrices' names."""
        return {}

    def rows_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - most leave all
        """The remaining rows, int64 in order, of embedding, head and stacked experts, by the matrices' names."""
        return {}

    def teacher(self, genome: Sequence[float]) -> list[float]:  # noqa: ARG002 - most read texts alike
        """The genome of the dense model that reads texts in the same tokens as that of ``genome``."""
        return self.dense

    def tokens_left(self, genome: Sequence[float]) -> Sequence[int] | None:
        """The remaining tokens, in order; None if all are left."""
        return self.vocabularies[int(genome[0])] if self.vocabularies else None

    def bare(self) -> Transform:
        """The same transform of the same model, which must be dense, without texts; with all levels there may be."""
        return type(self)(self.resident, self.settings, None)

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Leave only the levels that are worth their time, slowest first.

        ``times``: for each gene of :meth:`bare`, what each of its levels changes a pass by, at most 0. Raises
        ValueError where these are other genes or levels.
        """
        own = {gene.name: {*map(str, gene.levels)} for gene in self.genes}
        if own != {name: {*levels} for name, levels in times.items()}:
            raise ValueError("other genes or levels")

    @classmethod
    def calibrates(cls, settings: Any) -> bool:  # noqa: ARG003 - a default
        """Return whether it reads the calibration text."""
        return False

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:  # noqa: ARG003 - a default
        """List packages and files that it needs and that are not there, a line each; must be quick."""
        return []

    @classmethod
    def needs_of(cls, resident: Resident, settings: Any) -> Needs:  # noqa: ARG003 - a default
        """Estimate its needs."""
        return Needs()

    @classmethod
    def rivals(cls, settings: Any, alone: Callable[[Any], Any]) -> Iterator[Rival]:  # noqa: ARG003 - a default
        """Yield solutions of other tools that this transform alone can make.

        ``alone`` makes the problem that has no other transform, of other ``settings``, and no limit.
        """
        return iter(())


def at_share(genes: Sequence[Gene], share: float) -> list[float]:
    """For each of ``genes`` the ``share``, in [0, 1], of its range, taken to rise from what is dense.

    Levels are whole: the rounding error of a gene is carried to the next, so that higher ones are at even distances.
    """
    genome, rest = [], 0.5
    for gene in genes:
        value = gene.low + share * (gene.up - gene.low)
        if gene.levels:
            value, rest = divmod(value + rest, 1)
        genome.append(value)
    return genome


def scaled(prices: Prices, factor: float) -> Prices:
    """``prices`` in a unit of which there are ``factor`` times as many."""
    own, fixed = prices
    return [[factor * each for each in p] if isinstance(p, Sequence) else factor * p for p in own], factor * fixed


def uniform_within(transform: Transform, budget: Budget) -> list[float]:
    """The uniform genome of ``transform`` that takes the least from each gene and keeps the ``budget``."""
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    step = bisect_left(steps, True, key=lambda step: budget.within(transform.uniform(step / _STEPS)))
    return transform.uniform(step / _STEPS)


def initial_within(transform: Transform, budget: Budget) -> list[list[float]]:
    """The initial genomes of ``transform`` within the ``budget``: the few that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in transform.initial_genomes() if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_MOST_INITIAL]))
