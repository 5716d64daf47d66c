"""What the engine asks of a problem. A plugin subclasses :class:`Problem`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from evoprune.parameters import Checked


class Settings(Checked):
    """Base of a problem's parameters: unknown keys and non-finite numbers are refused."""


class Bounds(NamedTuple):
    """Inclusive bounds of each gene. A gene with ``low == up`` is fixed."""

    low: list[float]
    up: list[float]


@dataclass(frozen=True)
class Evaluation:
    """The score of one genome.

    ``values``: one number an objective. ``work``: what it cost, in the problem's
    ``work_unit``. ``measures``: JSON-able facts kept in the history. ``failure``: why it
    could not be scored (``values`` are then the worst possible), else None. ``seconds``
    (wall time) and ``worker`` (host and process) are filled in by the engine.
    """

    values: tuple[float, ...]
    work: float = 1.0
    measures: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    seconds: float = 0.0
    worker: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a finished search hands to :meth:`Problem.finish`.

    ``best``: the best genome. ``best_evaluation``: its score. ``references``: name to
    (genome, score) of the known solutions.
    """

    best: list[float]
    best_evaluation: Evaluation
    references: Mapping[str, tuple[list[float], Evaluation]]


class Problem(ABC):
    """A search problem over real genomes.

    ``evaluate`` must depend on nothing but the settings and the genome: a candidate may be
    scored twice, in any process and in any order, with the same answer.
    """

    Settings: ClassVar[type[Settings]] = Settings
    """The parameters that the YAML file's ``problem`` section may hold."""

    weights: tuple[float, ...] = (-1.0,)
    """One number an objective: negative to minimise, positive to maximise."""

    work_unit: str = "evaluations"
    """What :attr:`Evaluation.work` counts."""

    fitness_label: str = "fitness"
    """Names the first objective on figures."""

    supplies: ClassVar[frozenset[str]] = frozenset()
    """Names of the values that :meth:`context` gives to operators, known before loading."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @classmethod
    def devices(cls) -> Sequence[str]:
        """The accelerators of this host that ``--devices auto`` spreads workers over.

        A worker's device takes the place of the setting ``device`` where that is ``auto``.
        """
        return []

    @abstractmethod
    def bounds(self) -> Bounds:
        """The bounds of each gene; their length is the length of the genome."""

    @abstractmethod
    def random_genome(self) -> list[float]:
        """A genome for the first population, drawn from the global :mod:`random`."""

    @abstractmethod
    def evaluate(self, genome: Sequence[float]) -> Evaluation:
        """Score ``genome``. What it raises is recorded as this candidate's failure."""

    has_fidelities: ClassVar[bool] = False
    """Whether :meth:`evaluate_partly` is cheaper than :meth:`evaluate`; the engine calls it only then."""

    def evaluate_partly(self, genome: Sequence[float], fidelity: float) -> Evaluation:
        """Score ``genome`` on a share ``fidelity``, in (0, 1), of the data, to screen many."""
        return self.evaluate(genome)

    def context(self) -> dict[str, Any]:
        """Values for operator arguments of the same name, besides ``low`` and ``up``."""
        return {}

    def starting_genomes(self) -> list[list[float]]:
        """Known genomes that take the first places of the first population."""
        return []

    def references(self) -> dict[str, list[float]]:
        """Named known solutions, scored beside the search."""
        return {}

    def cost(self, genome: Sequence[float]) -> float:
        """About how long ``genome`` takes, in any unit: where costs differ, the largest is handed out first."""
        return 1.0

    def fingerprint(self) -> dict[str, str]:
        """Name to hash of the data that scores depend on beside the settings: a model's weights, a text.

        A run is resumed only while they are the same.
        """
        return {}

    def finish(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        """Draw figures into ``folder``; return what is added to ``result.json``."""
        return {}
