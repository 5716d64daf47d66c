"""Interface of problems: plugins subclass :class:`Problem`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evoprune.interfaces.budget import Budget
from evoprune.interfaces.defaults import Devices, Objectives, SettingsChecks, Work
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.result import Result
from evoprune.interfaces.schema import Checked


class Settings(Checked):
    """Base of a problem's parameters: fields of pydantic, checked from YAML; unknown keys are refused.

    >>> from evoprune import Settings
    >>> class Coins(Settings):
    ...     amount: int = 63
    >>> Coins(amount=5).amount
    5
    """


@dataclass(frozen=True)
class Evaluation:
    """The score of one genome: a value an objective, and its cost in the problem's ``work_unit``.

    ``measures``: JSON-able facts for the history. ``failure``: reason of a failure, with the worst ``values``.
    ``violation``: of constraints, 0 where all are satisfied; see :func:`violation`. ``seconds`` (wall time) and
    ``worker`` (host and process) are filled in by the engine.

    >>> from evoprune import Evaluation
    >>> Evaluation((3.5,), work=128.0, measures={"weights": 12}).failure is None
    True
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


def worst(signs: Sequence[float]) -> tuple[float, ...]:
    """The worst value of each objective."""
    return tuple(math.inf if sign < 0 else -math.inf for sign in signs)


class Problem(Objectives, Work, SettingsChecks, Devices, ABC):
    """A search problem: its genes, and a score for a genome. All other members have a default.

    ``evaluate`` must depend on the settings, the genome and the fidelity alone: a candidate may be scored twice, in any
    process and order, with the same answer. :mod:`evoprune.interfaces.defaults` has the inherited members,
    :mod:`evoprune.interfaces.parts` and :mod:`evoprune.interfaces.export` the parts to add.

    >>> from evoprune import Evaluation, Genes, Problem
    >>> class Sphere(Problem):
    ...     genes = Genes.real(["x", "y"], -1.0, 1.0)
    ...     def evaluate(self, genome, fidelity=1.0):
    ...         return Evaluation((sum(x * x for x in genome),))
    >>> Sphere(Sphere.Settings()).evaluate([0.5, 0.0]).values
    (0.25,)
    """

    Settings: ClassVar[type[Settings]] = Settings
    """Parameters: keys of ``problem`` in the YAML file."""

    Result: ClassVar[type[Result]] = Result
    """Class of results: a subclass where :meth:`Reporting.report` adds keys."""

    parts: ClassVar[Sequence[type]] = ()
    """Classes of optional parts, each made from the problem, where it does not inherit them."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.signs = self.signs_of(settings)

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
        """Draw a genome for the first population from the global :mod:`random`."""
        return self.genes.random()

    def initial_genomes(self) -> list[list[float]]:
        """Return genomes for the first places of the first population."""
        return []

    def references(self) -> dict[str, list[float]]:
        """Return known solutions by name, for comparison: they are scored, but not bred."""
        return {}

    def describe(self) -> str:
        """Describe the search space and data: a part of the line that a run begins with."""
        return f"{len(self.genes)} genes"

    def fingerprint(self) -> dict[str, str]:
        """Return hashes of the data behind the scores, by name: a run is resumed only while all match."""
        return {}
