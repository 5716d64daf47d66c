"""What the engine asks of a problem. A plugin subclasses :class:`Problem`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from evoprune.errors import InputError
from evoprune.fields import Checked


class Settings(Checked):
    """Base of a problem's parameters: unknown keys and non-finite numbers are refused."""


class Bounds(NamedTuple):
    """Inclusive bounds of each gene. A gene with ``low == up`` is fixed."""

    low: list[float]
    up: list[float]


@dataclass(frozen=True)
class Evaluation:
    """The score of one genome.

    ``values``: one number an objective. ``work``: what it cost, at least 0, in the problem's
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


def worst(weights: Sequence[float]) -> tuple[float, ...]:
    """The worst value of each objective."""
    return tuple(math.inf if weight < 0 else -math.inf for weight in weights)


@dataclass(frozen=True)
class Outcome:
    """What a finished search hands to :meth:`Problem.finish`.

    ``best``: the best genome. ``best_evaluation``: its score. ``references``: name to
    (genome, score) of the known solutions. ``front``: genome and values of what no other
    candidate dominates, where there are several objectives.
    """

    best: list[float]
    best_evaluation: Evaluation
    references: Mapping[str, tuple[list[float], Evaluation]]
    front: Sequence[tuple[list[float], tuple[float, ...]]] = ()


@dataclass(frozen=True)
class Exported:
    """What :meth:`Problem.export` wrote.

    ``facts``: JSON-able, what ``evoprune.json`` will hold. ``summary``: lines for a person.
    ``faults``: why what was written must not be used; empty where it was checked and is sound.
    """

    facts: Mapping[str, Any]
    summary: Sequence[str] = ()
    faults: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Measured solutions, a row each with the same keys, and the protocol without which they mean nothing.

    ``shares``: keys of numbers in [0, 1] that people read in percent.
    """

    rows: Sequence[Mapping[str, Any]]
    protocol: Mapping[str, Any]
    shares: frozenset[str] = frozenset()


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

    preparation: float = 0.0
    """What :meth:`context` and :meth:`starting_genomes` cost, in ``work_unit``; a budget pays it before the search."""

    fitness_label: str = "fitness"
    """Names the first objective in figures and on pages."""

    words: ClassVar[Mapping[str, str]] = {}
    """What pages call the single numbers that :meth:`finish` adds to the result, by key, units and all.

    A share whose words end in ", %" is shown as a percentage.
    """

    packages: ClassVar[tuple[str, ...]] = ()
    """Installed packages that scores depend on; pages tell their versions."""

    supplies: ClassVar[frozenset[str]] = frozenset()
    """Names of the values that :meth:`context` gives to operators, known before loading."""

    groups: ClassVar[Mapping[str, str]] = {}
    """Groups of entry points of its own: what a setting calls their plugins, to the group."""

    ExportOptions: ClassVar[type[Checked]] = Settings
    """What :meth:`export` may be told; each field is an option of the command ``export``."""

    EvalOptions: ClassVar[type[Checked]] = Settings
    """What :meth:`compare` and :meth:`measure` may be told; each field is an option of the command ``eval``."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.weights = self.weights_of(settings)
        self.fitness_label = self.labels_of(settings)[0]

    @classmethod
    def weights_of(cls, settings: Any) -> tuple[float, ...]:
        """The ``weights``, where they depend on the settings; known before loading."""
        return cls.weights

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        """The slots of operators that must be filled, and why; known before loading."""
        return {}

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        """A name for each objective, where they depend on the settings or are several; known before loading."""
        others = range(2, 1 + len(cls.weights_of(settings)))
        return (cls.fitness_label, *(f"objective {number}" for number in others))

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

    def watch(self, genome: Sequence[float]) -> float | None:
        """What ``genome`` is worth on data that no search sees, lower being better; None: there is no such data.

        Where the experiment asks for ``patience``, it is called with each new best after its
        generation, in the process that breeds. Depends on nothing but settings and genome.
        """
        return None

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

    def describe(self) -> str:
        """What is searched, on what: a part of a line that a run begins with."""
        return f"{len(self.bounds().low)} genes"

    def fingerprint(self) -> dict[str, str]:
        """Name to hash of the data that scores depend on beside the settings: a model's weights, a text.

        A run is resumed only while they are the same.
        """
        return {}

    def choose(self, front: Sequence[tuple[float, ...]]) -> int:
        """Which of ``front``, values of what no other candidate dominates, is the result of a search with several
        objectives: by default the best by the first one.

        Histories, progress and ablations tell of the first objective alone.
        """
        return max(range(len(front)), key=lambda at: self.weights[0] * front[at][0])

    def finish(self, outcome: Outcome, folder: Path) -> dict[str, Any]:
        """Draw figures into ``folder``; return what is added to ``result.json``.

        Of these keys the engine reads ``unseen``, the result's score on data that no search sees, for ablations, and
        ``genes``, their names, and ``protocol``, what scores mean nothing without, for pages. Where it
        gives a key that the engine has (``best``, ``work``, ``seed``), the engine's value is kept.
        Its key ``figures``, if any, holds a sentence for each figure by name: what pages say below it, and to who
        does not see it.
        """
        return {}

    @classmethod
    def summary(cls, result: Mapping[str, Any]) -> Sequence[str]:
        """Lines that tell a person what the run found, beside its best fitness. ``result``: its ``result.json``."""
        return []

    def export(self, genome: Sequence[float], result: Mapping[str, Any], folder: Path, options: Any) -> Exported:
        """Write ``genome`` to the empty ``folder`` in a form that others use, and check what was written.

        ``result``: the run's ``result.json``, as yet unchecked. ``options``: an :attr:`ExportOptions`.
        Raises :class:`evoprune.InputError`.
        """
        raise InputError(f"the problem {type(self).__name__} has nothing to export")

    def compare(self, genome: Sequence[float], options: Any) -> Table:
        """Measure ``genome`` beside the known solutions. ``options``: an :attr:`EvalOptions`.

        Raises :class:`evoprune.InputError`.
        """
        raise InputError(f"the problem {type(self).__name__} has nothing to measure beyond its fitness")

    @classmethod
    def measure(cls, source: str, options: Any) -> Table:
        """As :meth:`compare`, for the one solution that ``source`` names, from this or any other origin."""
        raise InputError(f"the problem {cls.__name__} measures no '{source}'; expected a run's folder")
