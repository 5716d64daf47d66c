"""The interfaces of goals and outputs of the command ``prune``, which wings implement. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from evoprune import InputError
from evoprune.plugins import find_plugin, plugin_names
from evoprune.problems.language_model.models.model_file import Stored
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.options import PruneOptions

if TYPE_CHECKING:  # these import torch
    from evoprune.problems.language_model.evaluation.session import Session
    from evoprune.problems.language_model.models.resident import Resident

GOALS, OUTPUTS = "evoprune.goals", "evoprune.prune_outputs"  # groups of entry points

LEAST_STEP = 32  # channels of a step, as the transform demands
SOME = 0.1  # share of the parameters that is removed at least, where cuts are needed

Json = dict[str, Any]


@dataclass(frozen=True)
class ModelFacts:
    """The facts about a loaded model and its memory."""

    width: int | None  # of an MLP; None if MLPs cannot be narrowed
    heads: bool  # whether some can go
    parameters: int  # of the model
    block_parameters: int  # of these, in the blocks
    weight_size: float  # root mean square, by which rates are given (Shazeer and Stern, "Adafactor", ICML 2018, 8)
    experts: bool = False  # whether some can go
    roomy: bool = False  # whether there is memory to train all weights
    differentiable: bool = False  # whether there is memory for gradients of all weights
    ordering: float = 0.0  # seconds to order the channels of all MLPs, about

    @property
    def can_be_cut(self) -> bool:
        """True if heads, channels or experts can be removed."""
        return bool(self.width) or self.experts


@dataclass(frozen=True)
class Goal(ABC):
    """The goal of the option ``--name``: ``value``, in its first unit; ``text``, as it was given.

    Registered by its name under ``evoprune.goals``; its module imports torch in functions alone.
    """

    value: float = 1.0
    text: str = ""

    name: ClassVar[str]
    help: ClassVar[str] = ""  # of its option; none for a goal that another option names
    expects: ClassVar[str] = ""
    units: ClassVar[Mapping[str, float]] = {}  # by name, in lower case; none for a text
    between: ClassVar[tuple[float, float]]  # which the value is, exclusively
    output: ClassVar[str | None] = None  # suffix of the files that it is for; None: any
    keeps_tokens: ClassVar[bool] = False  # not with --vocabulary

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the goal with the value in ``text``: a number and a unit. Raises :class:`evoprune.InputError`."""
        if not cls.units:
            return cls(text=text)
        parts = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z%]*)", text.strip().lower())
        value = round(float(parts[1]) * cls.units.get(parts[2], 0.0), 9) if parts else 0.0
        if not cls.between[0] < value < cls.between[1]:
            raise InputError(f"expected {cls.expects}, got '{text}'", f"--{cls.name}")
        return cls(value, text)

    @property
    def option(self) -> str:
        return f"--{self.name}"

    @property
    def label(self) -> str:
        """A part of a file's name, such as ``75MB`` or ``remove-25``."""
        return f"{self.name}-{plain_value(self.text)}".rstrip("-")

    def prepared(self, output: Output) -> Self:  # noqa: ARG002 - a default
        """Return the goal for the files of ``output`` alone, before a model is loaded. Raises InputError."""
        return self

    def check(self, facts: ModelFacts, output: Output) -> None:
        """Raise :class:`evoprune.InputError` for a model that it is not for."""
        if self.removed(facts, output) and not facts.can_be_cut:
            raise InputError(
                "this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune"
            )

    def measured(self, planning: Any) -> Self:  # noqa: ARG002 - a default
        """Return the goal with its value, if that depends on the loaded model and its text."""
        return self

    def calibrated(self, session: Callable[[], Session]) -> Self:  # noqa: ARG002 - a default
        """Return the goal with its value, if that depends on the ``session`` of the experiment."""
        return self

    def removed(self, facts: ModelFacts, output: Output) -> float:  # noqa: ARG002 - a default
        """Return about the share of the blocks' parameters that is cut out; 0 where types or zeros do it alone."""
        return 0.0

    @abstractmethod
    def experiment(self, setup: Setup) -> Json:
        """Return the experiment: problem, operators and evaluations."""

    @classmethod
    def advice(cls, planning: Any, goal: Goal) -> str | None:  # noqa: ARG003 - a default
        """Return a sentence if the option of this goal would help to meet another ``goal``."""
        return None


class Output:
    """The files of the result: here a folder for transformers, with weights in 16 bits.

    A subclass is for one file, whose matrices have types of fewer bits: registered by the suffix of such files under
    ``evoprune.prune_outputs``, in a module that imports torch in functions alone. An object is for one call of the
    command; ``model``, ``asked``: of the command line.
    """

    Options: ClassVar[type[PruneOptions]] = PruneOptions
    suffix: ClassVar[str] = ""  # of the file; none for a folder
    one_file: ClassVar[bool] = False
    trainable: ClassVar[str] = "norms"  # where there is no memory to train all weights

    alike: bool = False  # all blocks must have one width
    loses_blocks: bool = False  # whole blocks can be left out where they are alike
    least_bytes: float = 0.0  # of the smallest file by types alone, about; 0 without types
    weights: int = 1  # of the matrices whose types are chosen

    def __init__(self, model: str, asked: Any) -> None:
        self.model, self.asked = model, asked
        self.export: Json = {}  # options of the export
        self.remarks: list[str] = []  # for the user

    # before the model is loaded

    def missing(self) -> str | None:
        """Return the command that installs missing packages; None if none is missing."""
        return None

    def faults(self, goal: Goal | None) -> Iterator[tuple[str, object]]:  # noqa: ARG002 - a default
        """Yield options, and the faults of some, that need no file."""
        yield from ()

    def check(self) -> None:
        """Raise :class:`evoprune.InputError` for a model, or a file of the options, that is unfit."""

    @property
    def arguments(self) -> list[str]:
        """Its options of the command line, to repeat it."""
        return []

    def smallest(self, matrix: Stored, headers: Headers) -> float:  # noqa: ARG002 - a default
        """Return the least bytes of ``matrix``."""
        return 2.0 * matrix.size

    def least(self, headers: Headers) -> float:
        """Return about the bytes of the smallest file, by types alone."""
        raise NotImplementedError

    # with the model in memory

    def look(self, resident: Resident, headers: Headers) -> None:
        """Set the attributes that depend on the model, such as :attr:`alike`. Raises InputError for an unfit model."""

    @property
    def block_size(self) -> int:
        """Weights in a block of a type: widths of matrices should be multiples."""
        return LEAST_STEP

    def removed(self, size: float, facts: ModelFacts) -> float:
        """Return about the share of the blocks' parameters to cut for files of ``size`` bytes; 0 if types suffice."""
        return min(1.0, max(SOME, (facts.parameters - size / 2) / facts.block_parameters))

    def is_faster_by_types(self, speedup: float) -> bool:  # noqa: ARG002 - a default
        """Return whether types alone give the ``speedup``, with less loss than cuts."""
        return False

    def drops_sublayers(self, removed: float) -> bool:  # noqa: ARG002 - a default
        """Return whether whole attentions and MLPs may go, of a model that loses the share ``removed``."""
        return True

    def runtime_token(self) -> float | None:
        """Time a token of the source in the runtime of the export, in seconds; None if nothing is timed."""
        return None

    def choose_types(self, goal: Goal, seconds: float | None) -> float:  # noqa: ARG002 - a default
        """Choose the types of the experiment, which the first candidate has in ``seconds``; None: nothing is timed.

        Return the seconds to make a file to compare the result with; 0 if none is made.
        """
        return 0.0

    def add_slow_types(self, goal: Goal, session: Any) -> None:
        """Choose more of the timed types, by the ``session()`` of the experiment."""

    def for_calibration(self) -> Self:
        """Return the output whose experiment has the least to choose from, as statistics do not depend on it."""
        return self

    def types(self, chosen: bool = True) -> list[Json]:  # noqa: ARG002 - a default
        """Return the transform of types in addition to cuts, ``chosen`` or the source's; none in a folder."""
        return []

    def experiment(self, setup: Setup, limit: Json) -> Json:
        """Return the experiment that chooses types alone."""
        raise NotImplementedError

    def room(self, size: float, parameters: int, headers: Headers) -> float:  # noqa: ARG002 - a default
        """Return the bytes on disk that the export needs, at least, for weights of ``size`` bytes."""
        return size

    def losses(self, file: Path, pieces: Sequence[tuple[str, str]]) -> list[float]:
        """Return the loss of ``file``, in nats, for each of ``pieces``: pairs of a context and the text that counts."""
        raise NotImplementedError

    def overview(self, planning: Any) -> Iterable[str]:
        """Return lines on sizes that the model could have."""
        raise NotImplementedError


@dataclass(frozen=True)
class Setup:
    """The model, its output, the texts (keys of :class:`.TextSettings`) and the times that an experiment is for."""

    facts: ModelFacts
    output: Output
    model: str = ""
    dtype: str = "auto"
    search: Json = field(default_factory=dict)
    calibration: Json = field(default_factory=dict)
    report: Json = field(default_factory=dict)
    others: Sequence[Json] = ()  # further texts to measure on
    vocabulary: Json | None = None  # the text whose tokens stay; None: all stay
    trained: Json = field(default_factory=dict)  # the text of the training
    trained_window: int = 0  # tokens
    held_out: int = 0  # windows
    training: str = ""  # time of the training, at most
    short: bool = False  # the cheaper of two ways is taken
    length: int = 0  # tokens before the one that is timed
    keep_codes: bool = False  # no time to compute compensated codes
    least_trained: int = 0  # tokens, fewer of which do not pay
    whole_blocks: bool = False  # no time to order channels
    comparing: float = 0.0  # seconds that a training leaves to make a file to compare the result with

    @property
    def trainable(self) -> str:
        """The weights that are trained: all that there is memory for."""
        return "all" if self.facts.roomy else self.output.trainable

    @property
    def vocabulary_cut(self) -> list[Json]:
        """The transform that leaves out tokens, if any go."""
        return [{"use": "vocabulary", "texts": [self.vocabulary]}] if self.vocabulary else []


def plugins_of(group: str) -> dict[str, Any]:
    """Return the registered goals or outputs by name; one that cannot be imported is left out."""
    found = {}
    for name in plugin_names(group):
        with suppress(InputError):
            found[name] = find_plugin(group, name)
    return found


def plain_value(text: str) -> str:
    """Return ``text``, of a goal, without spaces and signs, for the name of a file."""
    return re.sub(r"[\s%]", "", text)
