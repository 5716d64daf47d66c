"""The interface of transforms, which make a resident language model smaller.

A new transform subclasses :class:`Transform`; only ``genes``, ``apply``, ``block_fingerprints`` and ``prices`` have no
default. It is registered under ``evoprune.transforms``, and :mod:`evoprune.problems.language_model.testing` checks its
contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from evoprune import Gene, Genes, InputError
from evoprune.plugins import Checked
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms import UNIFORM
from evoprune.problems.language_model.transforms.costs import BYTES, PARAMETERS, WEIGHTS, Prices, checked, scaled

if TYPE_CHECKING:
    import torch

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""Parts of a block: its attention and its MLP, and their units."""
EXPERTS = "mlp experts"

RECENT_BYTES = 2**29  # of cached results that take about as long to compute as the score of a candidate

ModelMaker = Callable[[], tuple[Any, Sequence[float], Mapping[str, Sequence[float]]]]
"""Returns the problem that reports and exports a model, its genome, and genomes to compare it with, by name.

Raises :class:`evoprune.InputError` if there is no such model.
"""


class KeptIndices(NamedTuple):
    """Indices of the inputs and rows that remain in pruned matrices, by the matrices' names."""

    inputs: Mapping[str, torch.Tensor]
    rows: Mapping[str, torch.Tensor]


def at_share(genes: Sequence[Gene], share: float) -> list[float]:
    """Return the genome at the ``share``, in [0, 1], of the ranges of ``genes``, from the dense end.

    Levels are whole: the rounding error of a gene is carried over to the next, so that higher levels are evenly spread.
    """
    genome, rest = [], 0.5
    for gene in genes:
        value = gene.low + share * (gene.up - gene.low)
        if gene.levels:
            value, rest = divmod(value + rest, 1)
        genome.append(value)
    return genome


class ModelChange(ABC):
    """Applies genomes to a resident model, in place; applying ``dense`` restores it.

    The model is dense when a transform is made. The same genome gives exactly the same model on the same device,
    whatever was applied before. The defaults suit transforms whose final model is that of :meth:`apply`.
    """

    Settings: ClassVar[type[Checked]] = Checked
    """Keys in the YAML file, besides ``use``."""

    units: Collection[str] = (WEIGHTS,)
    """Units of :meth:`prices`, see :mod:`.costs`: at least weights."""

    vocabularies: Sequence[Sequence[int] | None] = ()
    """If the transform removes tokens: the remaining tokens at each level of its only gene, None for all."""

    replayed: ClassVar[bool] = True
    """False if a ragged folder is loaded without the transform, from its config and weights."""

    def __init__(self, resident: Resident, settings: Any, texts: Texts | None) -> None:
        """Raise :class:`evoprune.InputError` for an unsuitable model.

        ``texts.calibration`` may be read if :meth:`calibrates` is true. Without ``texts`` only shapes are right.
        """
        self.resident, self.settings, self._texts = resident, settings, texts

    @property
    def texts(self) -> Texts:
        assert self._texts is not None
        return self._texts

    @property
    @abstractmethod
    def genes(self) -> Genes:
        """Genes of the search. Combined transforms must have genes of different names."""

    @abstractmethod
    def apply(self, genome: Sequence[float]) -> None:
        """Turn the resident model into that of ``genome``, writing only the changes since the last genome."""

    @abstractmethod
    def block_fingerprints(self) -> Sequence[Hashable]:
        """Return a value for each block; values with equal ``repr`` mean equal weights of the block."""

    @abstractmethod
    def prices(self, unit: str) -> Prices:
        """Return the costs of genomes in ``unit``, one of :attr:`units`."""

    def costs(self, unit: str) -> Prices:
        """As :meth:`prices`; if bytes are not among :attr:`units`, parameters have the size of the model's dtype.

        Raises :class:`evoprune.InputError` for other units, and for prices that are none of the genes.
        """
        if unit in self.units:
            return checked(self.prices(unit), self.genes, f"{type(self).__name__}.prices('{unit}')")
        if unit == BYTES:
            return scaled(self.costs(PARAMETERS), self.resident.model.dtype.itemsize)
        name = type(self).__name__
        raise InputError(f"{name} counts in {', '.join(self.units)}, not in '{unit}'", "problem.budget")

    @property
    def parts(self) -> frozenset[str]:
        """The :data:`PARTS` of a block that are changed. Transforms of different parts can be combined."""
        return frozenset(PARTS)

    @property
    def dense(self) -> list[float]:
        """The genome of the dense model: by default the lowest value, or first level, of each gene."""
        return [gene.low for gene in self.genes]

    def uniform(self, share: float) -> list[float]:
        """Return the genome at the ``share``, in [0, 1], of the range of each gene: a baseline for searches."""
        return at_share(self.genes, share)

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than ``apply``."""
        return False

    def finalise(self, genome: Sequence[float]) -> None:
        """Turn the resident model into the final one of ``genome``, with updates of the remaining weights."""
        self.apply(genome)

    @property
    def plain(self) -> bool:
        """True if transformers loads the present model once it is saved after :meth:`write`."""
        return True

    def write(self, model: Any) -> None:  # noqa: B027 - most change nothing
        """Prepare ``model``, a copy of the final resident model, for saving, if :attr:`plain`."""

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the inputs that remain, int64 and rising, by the names of narrowed matrices."""
        return {}

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the rows that remain, int64 and rising, of embedding, head and stacked experts."""
        return {}

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        """Return the remaining tokens, rising; None if all remain."""
        return self.vocabularies[int(genome[0])] if self.vocabularies else None


class Transform(ModelChange):
    """A :class:`ModelChange` with optional abilities: first genomes, facts for people, latency, and teachers."""

    sparse: bool = False
    """True if weights are set to zero and shapes stay the same."""

    @property
    def lazy(self) -> bool:
        """True if ``apply`` writes no weights: layers make them when they run, see ``models/lazy_weights.py``."""
        return False

    def references(self, share: float | None) -> dict[str, list[float]]:
        """Return uniform genomes to score as references, by name."""
        return {} if share is None else {UNIFORM: self.uniform(share)}

    def random_genome(self, share: float | None) -> list[float]:  # noqa: ARG002 - a default
        """Draw a genome from the global :mod:`random`. ``share``: of the uniform genome within the budget."""
        return self.genes.random()

    def initial_genomes(self) -> Sequence[list[float]]:
        """Return good known genomes for a search to start from."""
        return []

    def measures(self) -> Mapping[str, Any]:
        """Return JSON-able facts about the present model, for the history."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return JSON-able facts that scores depend on, for protocols."""
        return {}

    def remarks(self) -> list[str]:
        """Return warnings about the model, as phrases, displayed before the search."""
        return []

    def notes(self, genome: Sequence[float]) -> list[str]:  # noqa: ARG002 - a default
        """Return remarks on the model of ``genome``, a line each, for people."""
        return []

    def teacher(self, genome: Sequence[float]) -> list[float]:  # noqa: ARG002 - a default
        """Return the genome of the teacher for ``genome``: dense, with the same tokens."""
        return self.dense

    def bare(self) -> Transform:
        """Return the same transform of the same model, without texts and with all levels; the model must be dense."""
        return type(self)(self.resident, self.settings, None)

    def use_times(self, times: Mapping[str, Mapping[str, float]]) -> None:
        """Keep only the levels that are worth their time, slowest first.

        ``times``: by gene of the bare transform and by level, the change of a pass in milliseconds, at most 0. Raises
        ValueError for other genes or levels.
        """
        levels = {gene.name: {*map(str, gene.levels)} for gene in self.genes}
        if levels != {name: {*of_gene} for name, of_gene in times.items()}:
            raise ValueError("other genes or levels")

    @classmethod
    def calibrates(cls, settings: Any) -> bool:  # noqa: ARG003 - a default
        """Return whether the calibration text is read."""
        return False

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:  # noqa: ARG003 - a default
        """Return missing packages and files, a line each; must be fast."""
        return []

    @classmethod
    def presets_alone(cls, settings: Any, alone: Callable[[Any], Any]) -> Mapping[str, ModelMaker]:  # noqa: ARG003
        """Return makers of other tools' results, such as llama.cpp's presets, that need this transform alone, by name.

        ``alone``: makes a problem without other transforms and without a limit, from settings of this transform.
        """
        return {}
