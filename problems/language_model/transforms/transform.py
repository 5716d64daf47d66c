"""The interface of transforms, which make a resident language model smaller.

:class:`Transform` is all that a new one writes; its bases have defaults. It is registered under
``evoprune.transforms``, and :mod:`evoprune.problems.language_model.testing` checks its contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from typing import Any, ClassVar

from evoprune import Genes
from evoprune.interfaces.schema import Checked
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.text_splits import Texts
from evoprune.problems.language_model.transforms.costs import WEIGHTS, Prices
from evoprune.problems.language_model.transforms.final_form import FinalForm
from evoprune.problems.language_model.transforms.genomes import at_share
from evoprune.problems.language_model.transforms.options import Options

PARTS = ("attention", "attention heads", "mlp", "mlp channels")
"""The parts of a block: its attention and its MLP, and their units."""
EXPERTS = "mlp experts"

RECENT_BYTES = 2**29  # bytes of recent results that take about as long to make as a candidate takes to be scored


class Transform(FinalForm, Options, ABC):
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
    def apply(self, genome: Sequence[float]) -> None:
        """Make the resident model that of ``genome``. Write only what differs from the genome applied before."""

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
