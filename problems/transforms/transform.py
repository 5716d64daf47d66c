"""The interface of transforms, which make a resident language model smaller.

A transform is registered under the group of entry points ``evoprune.transforms``, and a problem names it:
``transforms: {use: NAME, ...}``, or a list of these. :mod:`problems.testing.transforms` checks the contract.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from evoprune import Additive, Budget, Checked, Gene, Genes, InputError, Price, Rival, Term
from problems.gguf.encoded import Encoded
from problems.models.resident import Resident
from problems.models.throughput import Load
from problems.texts.text_splits import Texts

if TYPE_CHECKING:
    from problems.transforms.latency import Clock

WEIGHTS = "weights"
"""The unit that each transform knows: weights of the blocks' matrices that are left."""

PARAMETERS = "parameters"
"""All numbers that the model still has to store."""

ATTENTION = "attention width"
"""The widths of what the attentions' heads give, summed over the blocks: heads times head size."""


BYTES = "bytes"
"""Of the file that holds the model."""

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""What transforms change in a block: whether its attention and its MLP are there, and what these are made of."""

RECENT_BYTES = 2**29
"""Bytes of recent results that take about as long to make as a candidate takes to be scored."""

_KNOWN = 3
"""A search starts with at most as many genomes that something else recommends: each is scored on all data."""

_STEPS = 2**20
"""Shares of what genes can take that the uniform genome is chosen from."""


@dataclass(frozen=True)
class Needs:
    """What a transform will need, as far as it is known: ``statistics`` of the calibration text, bytes, seconds.

    ``memory``: beside the model; ``disk``: of what is kept for later runs. ``updates``: of weights, after the search.
    ``quantising``: the seconds that all threads together take for it.
    """

    statistics: frozenset[str] = frozenset()
    updates: bool = False
    memory: int = 0
    disk: int = 0
    quantising: float = 0.0


class Transform(ABC):
    """Applies genomes to a resident model, in place; applying ``dense`` restores it.

    The model is dense when a transform is made. The same genome gives exactly the same model on the same device,
    whatever genome was applied before.
    """

    sparse: bool = False
    """Whether it sets weights to zero and leaves them in place, where they take as much room as before."""

    Settings: ClassVar[type[Checked]] = Checked
    """Its keys in the YAML file, besides ``use``."""

    def __init__(self, resident: Resident, settings: Any, texts: Texts) -> None:
        """``texts.calibration`` may be read where :meth:`calibrates` says so. Raises :class:`evoprune.InputError`."""
        self.resident, self.settings, self.texts = resident, settings, texts

    @classmethod
    def calibrates(cls, settings: Any) -> bool:  # noqa: ARG003 - a default
        """Whether the transform uses the calibration text."""
        return False

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:  # noqa: ARG003 - a default
        """What it needs and is not on this machine, such as a package, a line each; must be quick."""
        return []

    @classmethod
    def rivals(cls, settings: Any, alone: Callable[[Any], Any]) -> Iterator[Rival]:  # noqa: ARG003 - a default
        """Solutions of others that this transform alone can make.

        ``alone`` makes the problem that has no other transform, of other ``settings``, and no limit.
        """
        return iter(())

    @classmethod
    def needs_of(cls, resident: Resident, settings: Any) -> Needs:  # noqa: ARG003 - a default
        """What it will need of a machine, before it is made."""
        return Needs()

    @property
    def parts(self) -> frozenset[str]:
        """The :data:`PARTS` of a block that it changes: transforms of different parts can be combined."""
        return frozenset(PARTS)

    @property
    @abstractmethod
    def genes(self) -> Genes:
        """The genes that a search chooses. Transforms that are combined must have genes of different names."""

    @property
    def dense(self) -> list[float]:
        """The genome that changes nothing; by default each gene at its lowest, which is the first of its levels."""
        return [gene.low for gene in self.genes]

    def uniform(self, share: float) -> list[float]:
        """The genome that takes the ``share``, in [0, 1], of what each gene can take: the baseline of searches."""
        return at_share(self.genes, share)

    def known(self) -> Sequence[list[float]]:
        """Genomes that something else recommends, for a search to start with."""
        return []

    @abstractmethod
    def apply(self, genome: Sequence[float]) -> None:
        """Make the resident model that of ``genome``. Write only what differs from the genome applied before."""

    @abstractmethod
    def marks(self) -> Sequence[Hashable]:
        """For each block, a value whose ``repr`` identifies its present weights: equal marks mean equal blocks.

        A candidate is scored from the first block whose mark differs from that of an earlier candidate.
        """

    @abstractmethod
    def prices(self, unit: str) -> tuple[list[Price], float]:
        """What each gene spends in ``unit``, and what is spent independently of the genes (see ``evoprune.Additive``).

        Raises :class:`evoprune.InputError` for a unit that it does not know; each knows :data:`WEIGHTS`.
        """

    def byte_prices(self) -> tuple[list[Price], float]:
        """As :meth:`prices`, in bytes of the file that holds the model: all parameters, as the model runs."""
        return scaled_prices(*self.prices(PARAMETERS), self.resident.model.dtype.itemsize)

    def budget(self, unit: str, limit: float | None, name: str | None = None, scale: float = 1.0) -> Budget:
        """What genomes spend, ``scale`` times that in ``unit``, and at most ``limit``; people call the unit ``name``.

        Raises :class:`evoprune.InputError` for a unit that it does not know: each knows :data:`BYTES` and those of
        :meth:`prices`.
        """
        prices, fixed = self.byte_prices() if unit == BYTES else self.prices(unit)
        prices, fixed = scaled_prices(prices, fixed, scale)
        return Additive(self.genes, prices, limit, name or unit, fixed)

    def inputs_left(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - most leave all
        """The inputs that ``genome`` leaves of matrices that lose some, by the matrices' names: int64, in order."""
        return {}

    def measures(self) -> Mapping[str, Any]:
        """JSON-able facts about the model as it is now, for the history."""
        return {}

    @property
    def updates(self) -> bool:
        """Whether :meth:`finalise` does more than :meth:`apply`."""
        return False

    def finalise(self, genome: Sequence[float]) -> None:
        """Make the resident model the final one of ``genome``, including updates of the remaining weights."""
        self.apply(genome)

    @property
    def plain(self) -> bool:
        """Whether the model as it stands can be saved in a form that transformers loads, after :meth:`write`."""
        return True

    def write(self, model: Any) -> None:  # noqa: B027 - most transforms change values only
        """Change ``model``, a copy of the resident model as finalised, into the model that is saved, if :attr:`plain`.

        Nothing has to be changed where only the values of weights differ.
        """

    @property
    def base(self) -> str | None:
        """The .gguf file of the dense model that the settings name, if they do: exports copy its tokenizer from it."""
        return getattr(self.settings, "base", None)

    def encoded(self) -> Mapping[str, Encoded]:
        """The parameters that a .gguf file of the model as it is now holds in a quantised type, by their names."""
        return {}

    def unencoded(self, genome: Sequence[float]) -> list[float]:
        """``genome`` with all matrices in 16 bits: its model is trained, and then encoded."""
        return list(genome)

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:  # noqa: ARG002 - most have nothing
        """Set the weights of ``model``, a trained one of :meth:`unencoded`, to what a file holds of them.

        As :meth:`encoded`, of that model and of ``genome``; the resident model stays as it is.
        """
        return {}

    @classmethod
    def of_shapes(cls, resident: Resident, settings: Any) -> Self:
        """The transform of a model whose weights were not read yet, to give it its shapes: no text is needed."""
        return cls(resident, settings, None)  # type: ignore[arg-type]

    def bare(self) -> Transform:
        """The same transform of the same model, which must be dense, to give it shapes alone: no weight is updated.

        It has all levels that may be timed.
        """
        return self.of_shapes(self.resident, self.settings)

    def worth(self, times: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
        """The levels of each gene that are worth having, by its name.

        ``times``: what each level that :meth:`bare` has was measured to change a pass by, at most 0.
        """
        return {name: list(own) for name, own in times.items()}

    def use_levels(self, levels: Mapping[str, Sequence[str]], timed: Mapping[str, Sequence[str]]) -> None:  # noqa: ARG002
        """Restrict each gene to ``levels`` (as :meth:`worth` returned them), slowest first.

        ``timed``: the levels that were measured. Raises ValueError where ``levels`` are none of this transform, or
        where it may have others that were not measured.
        """
        if any({*map(str, gene.levels)} != {*levels[gene.name]} for gene in self.genes):
            raise ValueError("other genes or levels")

    def clock(self, load: Load) -> Clock:
        """What times its models, by what is to run them."""
        from problems.transforms.latency import Passes

        return Passes(self, load)

    def time_terms(self, changes: Sequence[Sequence[float]]) -> list[Term]:
        """What genomes change the milliseconds of a pass by, see :class:`evoprune.Coupled`; by default this adds up.

        ``changes``: what each level of each gene alone changes them by, at most 0 and falling.
        """
        return [Term((place,), np.array(table, dtype=float)) for place, table in enumerate(changes)]

    def shaping(self, genome: Sequence[float]) -> Sequence[float]:
        """The genes of ``genome`` that decide shapes."""
        return genome

    def describe(self) -> dict[str, Any]:
        """JSON-able facts that a score depends on, for protocols."""
        return {}

    def remarks(self) -> list[str]:
        """What a person should know of this model before the search: phrases for a line of progress."""
        return []


def at_share(genes: Sequence[Gene], share: float) -> list[float]:
    """For each of ``genes`` the ``share``, in [0, 1], of its range, taken to rise from what is dense.

    Genes with levels have whole levels: what one of them is rounded by, the next one makes up for, so that where not
    all can be equal the higher ones lie at even distances.
    """
    genome, rest = [], 0.5
    for gene in genes:
        value = gene.low + share * (gene.up - gene.low)
        if gene.levels:
            value, rest = divmod(value + rest, 1)
        genome.append(value)
    return genome


def uniform_within(transform: Transform, budget: Budget) -> list[float]:
    """The uniform genome of ``transform`` that takes the least from each gene and keeps the ``budget``.

    Raises :class:`evoprune.InputError` where no genome keeps it.
    """
    try:
        budget.check_reachable()
    except ValueError as error:
        raise InputError(str(error), "problem.budget") from None
    steps = range(_STEPS + 1)
    step = bisect_left(steps, True, key=lambda step: budget.within(transform.uniform(step / _STEPS)))
    return transform.uniform(step / _STEPS)


def known_within(transform: Transform, budget: Budget) -> list[list[float]]:
    """Of the genomes that ``transform`` knows, and that keep the ``budget``, the few that spend the most."""
    within = dict.fromkeys(tuple(genome) for genome in transform.known() if budget.within(genome))
    return list(map(list, sorted(within, key=budget.spent, reverse=True)[:_KNOWN]))


def summed_prices(transform: Transform, factors: Mapping[str, float]) -> tuple[list[Price], float]:
    """As :meth:`Transform.prices`, in a unit that is the sum of others: each, by name, times its factor."""
    known = [transform.prices(unit) for unit in factors]
    fixed = _sumproduct(factors.values(), [fixed for _, fixed in known])
    return [_summed(prices, factors.values()) for prices in zip(*(prices for prices, _ in known), strict=True)], fixed


def scaled_prices(prices: Sequence[Price], fixed: float, factor: float) -> tuple[list[Price], float]:
    """As :meth:`Transform.prices` returns them, in a unit of which there are ``factor`` times as many."""
    return [_summed([price], [factor]) for price in prices], factor * fixed


def _summed(prices: Sequence[Any], factors: Collection[float]) -> Price:
    if isinstance(prices[0], Sequence):
        return [_sumproduct(factors, entries) for entries in zip(*prices, strict=True)]
    return _sumproduct(factors, prices)


def _sumproduct(factors: Collection[float], values: Sequence[float]) -> float:
    return math.fsum(factor * value for factor, value in zip(factors, values, strict=True))


def unknown_unit(transform: Transform, unit: str, known: Sequence[str]) -> InputError:
    """The error for a ``unit`` that ``transform`` cannot count in."""
    return InputError(f"{type(transform).__name__} counts in {', '.join(known)}, not in '{unit}'", "problem.budget")
