"""The interface of transforms, which make a resident language model smaller.

:class:`Transform` is all that a new one writes; only ``genes``, ``apply``, ``block_fingerprints`` and ``prices`` have
no default. It is registered under ``evoprune.transforms``, and :mod:`evoprune.problems.language_model.testing` checks
its contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from evoprune import Gene, Genes, InputError
from evoprune.interfaces.problem import Checked
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, scaled

if TYPE_CHECKING:
    import torch

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""The parts of a block: its attention and its MLP, and their units."""
EXPERTS = "mlp experts"

RECENT_BYTES = 2**29  # bytes of recent results that take about as long to make as a candidate takes to be scored

ModelMaker = Callable[[], tuple[Any, Sequence[float], Mapping[str, Sequence[float]]]]
"""Returns the problem that reports and exports a model, its genome, and genomes to compare it with, by name.

Raises :class:`evoprune.InputError` if there is no such model.
"""


class Remaining(NamedTuple):
    """Indices of the inputs and rows that remain in pruned matrices, by the matrices' names."""

    inputs: Mapping[str, torch.Tensor]
    rows: Mapping[str, torch.Tensor]


def at_share(genes: Sequence[Gene], share: float) -> list[float]:
    """Return the genome in which ``genes`` take the ``share``, in [0, 1], of their ranges, from dense on.

    Levels are whole: the rounding error of a gene is carried to the next, so that higher ones are at even distances.
    """
    genome, rest = [], 0.5
    for gene in genes:
        value = gene.low + share * (gene.up - gene.low)
        if gene.levels:
            value, rest = divmod(value + rest, 1)
        genome.append(value)
    return genome


class Transform(ABC):
    """Applies genomes to a resident model, in place; applying ``dense`` restores it.

    The model is dense when a transform is made. The same genome gives exactly the same model on the same device,
    whatever was applied before. The defaults suit transforms whose final model is that of :meth:`apply`.
    """

    Settings: ClassVar[type[Checked]] = Checked
    """Its keys in the YAML file, besides ``use``."""

    units: Collection[str] = (WEIGHTS,)
    """The units that :meth:`prices` knows, see :mod:`.costs`: weights at least."""

    vocabularies: Sequence[Sequence[int] | None] = ()
    """Of a transform that removes tokens: the remaining ones at each level of its only gene, None for all."""

    sparse: bool = False
    """True if it sets weights to zero in place, where they take as much room as before."""

    replayed: ClassVar[bool] = True
    """False if a ragged folder is read without it: its config and weights say all."""

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
        """Make the resident model that of ``genome``. Write only the differences from the genome before."""

    @abstractmethod
    def block_fingerprints(self) -> Sequence[Hashable]:
        """Return a value for each block; equal ``repr`` of the values mean equal weights of the block."""

    @abstractmethod
    def prices(self, unit: str) -> Prices:
        """Return the costs of genomes in ``unit``, one of :attr:`units`."""

    def costs(self, unit: str) -> Prices:
        """As :meth:`prices`, in any unit: unless it counts bytes, a parameter takes those of the model's dtype.

        Raises :class:`evoprune.InputError` for a unit that it does not count.
        """
        if unit in self.units:
            return self.prices(unit)
        if unit == BYTES:
            return scaled(self.costs(PARAMETERS), self.resident.model.dtype.itemsize)
        name = type(self).__name__
        raise InputError(f"{name} counts in {', '.join(self.units)}, not in '{unit}'", "problem.budget")

    @property
    def parts(self) -> frozenset[str]:
        """The :data:`PARTS` of a block that it changes: transforms of different parts can be combined."""
        return frozenset(PARTS)

    @property
    def dense(self) -> list[float]:
        """The genome that changes nothing: by default the lowest value, or first level, of each gene."""
        return [gene.low for gene in self.genes]

    def uniform(self, share: float) -> list[float]:
        """Return the genome that takes the ``share``, in [0, 1], of the range of each gene: a baseline of searches."""
        return at_share(self.genes, share)

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than ``apply``."""
        return False

    def finalise(self, genome: Sequence[float]) -> None:
        """Make the resident model the final one of ``genome``, including updates of the remaining weights."""
        self.apply(genome)

    @property
    def plain(self) -> bool:
        """True if the model as it is now can be saved in a form that transformers loads, after :meth:`write`."""
        return True

    def write(self, model: Any) -> None:  # noqa: B027 - most change nothing
        """Change ``model``, a copy of the final resident model, into the model that is saved, if :attr:`plain`."""

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the inputs that remain, int64 and rising, by the names of narrowed matrices."""
        return {}

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the rows that remain, int64 and rising, of embedding, head and stacked experts."""
        return {}

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        """Return the remaining tokens, rising; None if all remain."""
        return self.vocabularies[int(genome[0])] if self.vocabularies else None

    @property
    def late(self) -> bool:
        """True if ``apply`` only changes how layers make weights, by ``models/late.py``."""
        return False

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes by name, which are scored too; the last has the ``share`` unless it is None."""
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def random_genome(self, share: float | None) -> list[float]:  # noqa: ARG002 - a default
        """Draw a first genome from the global :mod:`random`. ``share``: of the uniform genome within the budget."""
        return self.genes.random()

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return genomes that are known to be good, for a search to start with."""
        return []

    def measures(self) -> Mapping[str, Any]:
        """Return JSON-able facts about the model as it is now, for the history."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return JSON-able facts that a score depends on, for protocols."""
        return {}

    def remarks(self) -> list[str]:
        """Return warnings about this model, shown before the search: phrases for a line of progress."""
        return []

    def notes(self, genome: Sequence[float]) -> list[str]:  # noqa: ARG002 - figures describe most models
        """Return lines for people about the model of ``genome``."""
        return []

    def teacher(self, genome: Sequence[float]) -> list[float]:  # noqa: ARG002 - most leave the tokens as they are
        """Return the genome of the dense model that reads texts in the same tokens as that of ``genome``."""
        return self.dense

    def bare(self) -> Transform:
        """Return the same transform of the same model, which must be dense, without texts and with all levels."""
        return type(self)(self.resident, self.settings, None)

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Keep only the levels that are worth their time, slowest first.

        ``times``: by gene of the bare transform and by level, the milliseconds, at most 0, that it changes a pass by.
        Raises ValueError for other genes or levels.
        """
        levels = {gene.name: {*map(str, gene.levels)} for gene in self.genes}
        if levels != {name: {*of_gene} for name, of_gene in times.items()}:
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
    def presets_alone(cls, settings: Any, alone: Callable[[Any], Any]) -> Mapping[str, ModelMaker]:  # noqa: ARG003
        """Return solutions of other tools that this transform alone can make, by name.

        ``alone`` makes the problem that has no other transform, of other ``settings``, and no limit.
        """
        return {}
