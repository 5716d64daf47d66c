"""Interface of problems: plugins subclass :class:`Problem`; and the types of their settings."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from evoprune.console.errors import InputError, cut_repr
from evoprune.interfaces.budget import Budget
from evoprune.interfaces.fingerprints import fingerprint, is_library
from evoprune.interfaces.genes import Genes
from evoprune.interfaces.result import Result
from evoprune.interfaces.space import Genome, Space

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
"""A share or probability in [0, 1]."""

Positive = Annotated[float, Field(gt=0.0)]
"""A number above 0."""


class Checked(BaseModel):
    """Base of user input: refuses unknown keys, numbers that are not finite, and ``true`` for a number."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError(f"expected a number, got {value}")
        return value


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model that a mapping in ``field`` is parsed to, null or not; None for fields of other types."""
    types = [field.annotation, *get_args(field.annotation)]
    return next((one for one in types if isinstance(one, type) and issubclass(one, BaseModel)), None)


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


class Problem(ABC):
    """A search problem: its genes, or another :attr:`space`, and a score for a genome. Other members have a default.

    ``evaluate`` must depend on the settings, the genome and the fidelity alone: a candidate may be scored twice, in any
    process and order, with the same answer. :mod:`evoprune.interfaces.parts` and :mod:`evoprune.interfaces.export` have
    the parts to add. Class methods check settings before the problem is loaded: quickly, without heavy imports.

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
    """Classes of optional parts that the problem does not inherit; their constructors get the problem."""

    signs: tuple[float, ...] = (-1.0,)
    """One number an objective: negative to minimise, positive to maximise."""

    work_unit: ClassVar[str] = "evaluations"
    """Plural of the unit of :attr:`Evaluation.work`."""

    has_fidelities: ClassVar[bool] = False
    """True if ``evaluate`` is cheaper at a fidelity below 1; else everything is scored at fidelity 1."""

    noisy: bool = False
    """True if scores of one genome differ: ``evaluate`` draws from :mod:`random` or ``numpy.random``.

    The engine seeds both by the number of a sample: candidates of one generation draw the same random numbers. A
    genome's value is its mean over samples, less their difficulty, which all candidates share; the result is chosen
    and scored on samples of its own.
    """

    plugin_groups: ClassVar[Mapping[str, str]] = {}
    """Group of entry points by the name of a setting whose values are names of plugins."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.signs = self.signs_of(settings)

    @property
    def genes(self) -> Genes:
        """Genes of a genome, where it is a vector."""
        raise InputError(f"has {self.space.describe()}, and no genes", type(self).__name__)

    @property
    def space(self) -> Space:
        """Space of the genomes: :attr:`genes`, unless a subclass has another."""
        if type(self).genes is Problem.genes:
            raise InputError("expected genes, or a space", type(self).__name__)
        return self.genes

    @abstractmethod
    def evaluate(self, genome: Genome, fidelity: float = 1.0) -> Evaluation:
        """Score ``genome`` on a share ``fidelity``, in (0, 1], of the data; an exception is recorded as a failure."""

    @property
    def batch(self) -> bool:
        """True if each worker is to score its share of a generation in one call of :meth:`evaluate_batch`."""
        return False

    def evaluate_batch(self, genomes: Sequence[Genome], fidelity: float = 1.0) -> Sequence[Evaluation]:
        """Score each genome exactly as :meth:`evaluate` does; after an exception each is scored alone."""
        how = (fidelity,) if fidelity < 1 else ()
        return [self.evaluate(genome, *how) for genome in genomes]

    @property
    def budget(self) -> Budget | None:
        """Cost of genomes and its limit; None where nothing is counted."""
        return None

    def random_genome(self) -> Genome:
        """Draw a genome for the first population from the global :mod:`random`."""
        return self.space.random()

    def initial_genomes(self) -> Sequence[Genome]:
        """Return genomes for the first places of the first population."""
        return []

    def references(self) -> Mapping[str, Genome]:
        """Return known solutions by name, for comparison: they are scored, but not bred."""
        return {}

    def describe(self) -> str:
        """Describe the search space and data, for the first line of a run."""
        return self.space.describe()

    def fingerprint(self) -> dict[str, str]:
        """Return hashes behind the scores, by name: a run is resumed only while all match. By default, of the code."""
        kind = type(self)
        return {} if is_library(kind.__module__) else fingerprint(kind, f"{kind.__module__}:{kind.__qualname__}")

    @classmethod
    def signs_of(cls, settings: Any) -> tuple[float, ...]:
        """Return the ``signs``, where they depend on the settings."""
        return cls.signs

    @classmethod
    def labels_of(cls, settings: Any) -> tuple[str, ...]:
        """Return a name for each objective, for figures and pages."""
        others = range(2, 1 + len(cls.signs_of(settings)))
        return ("fitness", *(f"objective {number}" for number in others))

    @classmethod
    def needs(cls, settings: Any) -> Mapping[str, str]:
        """Return the slots of operators that must be filled, each with the reason."""
        return {}

    @classmethod
    def unscored(cls, settings: Any) -> Sequence[str]:
        """Return the keys of ``settings`` that no score depends on: they may change when a run is continued."""
        return []

    @classmethod
    def missing(cls, settings: Any) -> Sequence[str]:
        """Return a line for each file that the settings name and this machine lacks."""
        return []

    @classmethod
    def devices(cls) -> Sequence[str]:
        """Return the accelerators of this host: a worker's replaces the setting ``device: auto``."""
        return []

    @classmethod
    def has_device(cls, name: str) -> bool:
        """Return whether this host has the device ``name``, which a user gave."""
        return True


def answer(problem: Problem | type[Problem], member: str, expected: type, *arguments: Any) -> Any:
    """Call a ``member`` of ``problem``. Raises :class:`InputError` unless the answer is of the ``expected`` type."""
    value = getattr(problem, member)(*arguments)
    if not isinstance(value, expected):
        owner = problem if isinstance(problem, type) else type(problem)
        raise InputError(f"expected a {expected.__name__}, got {cut_repr(value)}", f"{owner.__name__}.{member}")
    return value


def refuse_faulty(problem: Problem) -> None:
    """Raise :class:`InputError` for genes, a budget, labels or signs of a wrong type."""
    space = ("genes", Genes, "Genes") if type(problem).space is Problem.space else ("space", Space, "a Space")
    kinds = [space, ("budget", Budget | None, "a Budget, or None"), ("signs", tuple, "a tuple")]
    for member, kind, expected in kinds:
        if not isinstance(value := getattr(problem, member), kind):
            raise InputError(f"expected {expected}, got {cut_repr(value)}", f"{type(problem).__name__}.{member}")
    answer(problem, "labels_of", Sequence, problem.settings)
    if problem.noisy and len(problem.signs) > 1:
        raise InputError("expected one objective, as the problem is noisy", f"{type(problem).__name__}.signs")
    if not problem.signs or not all(isinstance(sign, int | float) and abs(sign) > 0 for sign in problem.signs):
        got = cut_repr(problem.signs)
        raise InputError(
            f"expected a number other than 0 for each objective, got {got}", f"{type(problem).__name__}.signs"
        )
