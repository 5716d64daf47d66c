"""Interface of problems: plugins subclass :class:`Problem`, and optional parts of :mod:`evoprune.interfaces.parts`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evoprune.interfaces.budget import Budget
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.result import Result
from evoprune.interfaces.schema import Checked


class Settings(Checked):
    """Base of a problem's parameters."""


@dataclass(frozen=True)
class Evaluation:
    """The score of one genome: a value an objective, and its cost in the problem's ``work_unit``.

    ``measures``: JSON-able facts for the history. ``failure``: why it could not be scored; ``values`` are then the
    worst. ``violation``: of constraints, 0 where all are satisfied; see :func:`violation`. ``seconds`` (wall time) and
    ``worker`` (host and process) are filled in by the engine.
    """

    values: tuple[float, ...]
    work: float = 1.0
    measures: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    seconds: float = 0.0
    worker: str = ""
    violation: float = 0.0


def violation(constraints: Iterable[float]) -> float:
    """The sum of the values above 0 of ``constraints``, each satisfied at 0 or below; NaN if any is."""
    return float(sum(value for value in constraints if not value <= 0))


def worst(weights: Sequence[float]) -> tuple[float, ...]:
    """The worst value of each objective."""
    return tuple(math.inf if weight < 0 else -math.inf for weight in weights)


class Problem(ABC):
    """A search problem: its genes, and a score for a genome. All but two members have a default.

    ``evaluate`` must depend on the settings, the genome and the fidelity alone: a candidate may be scored twice, in any
    process and order, with the same answer.
    """

    Settings: ClassVar[type[Settings]] = Settings
    """The parameters that the YAML file's ``problem`` section may hold."""

    Result: ClassVar[type[Result]] = Result
    """The class of results: a subclass where :meth:`Reporting.report` adds keys."""

    weights: tuple[float, ...] = (-1.0,)
    """One number an objective: negative to minimise, positive to maximise."""

    work_unit: ClassVar[str] = "evaluations"
    """What :attr:`Evaluation.work` counts."""

    has_fidelities: ClassVar[bool] = False
    """Whether a fidelity below 1 makes :meth:`evaluate` cheaper; other fidelities are asked for only then."""

    parts: ClassVar[Sequence[type]] = ()
    """Classes of optional parts, each made from the problem, where it does not inherit them itself."""

    plugin_groups: ClassVar[Mapping[str, str]] = {}
    """Groups of entry points that this problem's settings name plugins of: what a setting calls them, to the group."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.weights = self.weights_of(settings)

    @property
    @abstractmethod
    def genes(self) -> Genes:
        """Genes of a genome."""

    @abstractmethod
    def evaluate(self, genome: Sequence[float], fidelity: float = 1.0) -> Evaluation:
        """Score ``genome`` on a share ``fidelity``, in (0, 1], of the data; an exception is recorded as a failure."""

    @property
    def budget(self) -> Budget | None:
        """Cost of genomes and its limit; None where nothing is counted."""
        return None

    def random_genome(self) -> list[float]:
        """A genome for the first population, drawn from the global :mod:`random`."""
        return self.genes.random()

    def initial_genomes(self) -> list[list[float]]:
        """Known genomes that take the first places of the first population."""
        return []

    def references(self) -> dict[str, list[float]]:
        """Named known solutions, scored beside the search."""
        return {}

    def describe(self) -> str:
        """Describe the search space and data: a part of the line that a run begins with."""
        return f"{len(self.genes)} genes"

    def fingerprint(self) -> dict[str, str]:
        """Name to hash of the data that scores depend on beside the settings: a run is resumed only while all match."""
        return {}

    # Known before the problem is loaded, so that an experiment is checked in a moment.

    @classmethod
    def weights_of(cls, settings: Any) -> tuple[float, ...]:
        """The ``weights``, where they depend on the settings."""
        return cls.weights

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        """A name for each objective, for figures and pages."""
        others = range(2, 1 + len(cls.weights_of(settings)))
        return ("fitness", *(f"objective {number}" for number in others))

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        """The slots of operators that must be filled, and why."""
        return {}

    @classmethod
    def unscored(cls, settings: Any) -> Sequence[str]:
        """The keys of ``settings`` that no score depends on: they may change when a run is continued."""
        return []

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:
        """Files that the settings name and this machine lacks, a line each; must be quick and import nothing heavy."""
        return []

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Accelerators of this host for ``--devices auto``: a worker's replaces the setting ``device: auto``."""
        return []

    @classmethod
    def has_device(cls, name: str) -> bool:
        """Return whether this host has the device ``name``, which a user gave."""
        return True
