"""The interface of transforms, which make a resident language model smaller.

:class:`Transform` is all that a new one writes; its bases have defaults. It is registered under
``evoprune.transforms``, and :mod:`evoprune.problems.language_model.testing` checks its contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import Genes
from evoprune.interfaces.schema import Checked
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import WEIGHTS, Prices
from evoprune.problems.language_model.transforms.genomes import at_share
from evoprune.problems.language_model.transforms.options import Options

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""The parts of a block: its attention and its MLP, and their units."""
EXPERTS = "mlp experts"

if TYPE_CHECKING:
    import torch

RECENT_BYTES = 2**29  # bytes of recent results that take about as long to make as a candidate takes to be scored


class FinalForm(ABC):
    """Makes the final model of a genome and writes it. All has a default: cuts that need no more than ``apply``."""

    vocabularies: Sequence[Sequence[int] | None] = ()
    """Of a transform that removes tokens: the remaining ones at each level of its only gene, None for all."""

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than ``apply``."""
        return False

    @abstractmethod
    def apply(self, genome: Sequence[float]) -> None:
        """Make the resident model that of ``genome``. Write only the differences from the genome before."""

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


class Transform(FinalForm, Options):
    """Applies genomes to a resident model, in place; applying ``dense`` restores it.

    The model is dense when a transform is made. The same genome gives exactly the same model on the same device,
    whatever was applied before.
    """

    Settings: ClassVar[type[Checked]] = Checked
    """Its keys in the YAML file, besides ``use``."""

    units: Collection[str] = (WEIGHTS,)
    """The units that :meth:`prices` knows, see :mod:`.costs`: weights at least."""

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
    def block_fingerprints(self) -> Sequence[Hashable]:
        """Return a value for each block; equal ``repr`` of the values mean equal weights of the block."""

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

    def bare(self) -> Transform:
        """The same transform of the same model, which must be dense, without texts; with all levels there may be."""
        return type(self)(self.resident, self.settings, None)
