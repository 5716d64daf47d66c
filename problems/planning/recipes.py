"""Goals of the command ``prune``: the option of each, and the experiment that reaches it. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evoprune import InputError
from problems.planning.types import quantising_seconds, types_near
from problems.reconstruction import SOLVING

Json = dict[str, Any]

_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LEAST, _MOST = 4, 60  # evaluations of a search that knows the costs of its levels
_ROUNDS = (10, 90)  # evaluations after the costs of levels are known, at least and at most
_SCREENING = 0.125  # share of the windows that the cost of a level is measured on
_PROBED = 0.25  # the same for sparsities
_LEVELS = 15  # widths and numbers of heads of a block, about
_TIMED, _SHORT = 8.0, 2.0  # seconds that each level is timed, and in a short time
_MODELS = 19  # that are timed at most: nine with other widths of MLPs, nine with other heads, and the smallest
_LENGTH = 256  # tokens before the one that is timed


@dataclass(frozen=True)
class Subject:
    """A model, as far as plans depend on it. Times are in seconds; ``scored`` and ``gradients`` of one token.

    ``width``: that of an MLP, None if blocks cannot be taken apart. ``heads``: whether they can be removed.
    ``inputs``: the mean number of inputs of a weight's layer. ``gradients``: None if there is no memory for them.
    ``one_file``: whether the result is to be a .gguf file; ``base``: another one; ``widths``: how many of its weights
    have rows of each length, in matrices that have types; ``kinds_of_source``: the types that these have in the source.
    ``trainable``: whether the packages that train a result are there.
    """

    blocks: int
    kinds: int
    width: int | None
    heads: bool
    inputs: float
    prunable: int
    scored: float
    gradients: float | None
    loading: float
    positions: int
    widths: Mapping[int, int] = field(default_factory=dict)
    kinds_of_source: Sequence[str] = ()
    one_file: bool = False
    trainable: bool = False
    base: str | None = None


class Recipe(ABC):
    """A goal, under the option that names it, and the ``value`` that was given for it."""

    option: ClassVar[str]
    example: ClassVar[str]
    metavar: ClassVar[str] = "SHARE"
    help: ClassVar[str]
    narrows: ClassVar[bool] = False  # whether each block gets widths of its own, also in a .gguf file
    differentiates: ClassVar[bool] = False  # whether gradients of all weights may be needed

    def __init__(self, value: float) -> None:
        self.value = value

    @classmethod
    def read(cls, text: str) -> float:
        """Return the number in ``text``, a share such as ``0.45`` or ``45%``. Raises :class:`evoprune.InputError`."""
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(%?)", text.strip())
        value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if not found or not 0 < value < 1:
            guess = f"; did you mean {text.strip()}%?" if found and not found[2] and 1 < value < 100 else ""
            raise InputError(f"expected a share between 0 and 1, such as 0.45 or 45%, got '{text}'{guess}", cls.option)
        return value

    def needs_gradients(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        return False

    def setup_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Seconds before the search, beside calibration."""
        return 0.0

    def update_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Seconds to update a model's weights, beside passes over the calibration text; 0 if none are updated."""
        return 0.0

    def cheaper(self) -> Recipe | None:
        """Return a way to the same goal that takes less time, if there is one."""
        return None

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002 - a default
        """Return the fewest evaluations with which the search is of use, and the most: here of heads and channels."""
        return 24, 110

    @abstractmethod
    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Return ``problem``, without model and texts, and ``operators``."""


class Remove(Recipe):
    """Heads and channels under a budget of parameters."""

    option, example, narrows = "--remove", "25%", True
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels"

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        return narrower(subject, {"use": "parameters", "removed": self.value})


class Size(Recipe):
    """Types of GGUF, whose scales are trained, or heads and channels, under a budget of bytes."""

    option, example, metavar = "--size", "80MB", "BYTES"
    help = "make the weights no larger, as in 80MB: types of matrices for --out FILE.gguf, else fewer heads, channels"

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*([A-Za-z]*)", text.strip())
        units = {unit.lower(): factor for unit, factor in _UNITS.items()}
        if not found or found[2].lower() not in units or not float(found[1]):
            raise InputError(f"expected a size with one of {', '.join(_UNITS)}, such as 80MB, got '{text}'", cls.option)
        return float(round(float(found[1]) * units[found[2].lower()]))

    def __init__(self, value: float, fast: bool = False) -> None:
        super().__init__(value)
        self._fast = fast

    def setup_seconds(self, subject: Subject) -> float:
        """Those of one thread that quantises, beside calibration."""
        if not subject.one_file:
            return super().setup_seconds(subject)
        return quantising_seconds(self.types(subject), subject.widths)

    def cheaper(self) -> Recipe | None:
        return None if self._fast else type(self)(self.value, fast=True)

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        return (_LEAST, _MOST) if subject.one_file else super().evaluations(subject)

    def bits(self, subject: Subject) -> float:
        """Those of a weight in the wanted file, about."""
        return 8 * self.value / max(1, sum(subject.widths.values()))

    def types(self, subject: Subject) -> list[str]:
        """The types that the search chooses from."""
        return types_near(self.bits(subject), subject.widths, subject.kinds_of_source, self._fast)

    @property
    def budget(self) -> Json:
        return {"use": "bytes", "at_most": int(self.value)}

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        if not subject.one_file:
            return narrower(subject, self.budget)
        types = {"use": "types", "base": subject.base, "types": self.types(subject)}
        problem = {"use": "language_model", "objective": "kl", "transforms": types, "budget": self.budget}
        return {"problem": problem, "operators": _additive()}


class Bits(Size):
    """Types of GGUF under a budget of bits for each weight."""

    option, example, metavar = "--bits", "4.5", "BITS"
    help = "so many bits a weight of a .gguf file, as in 4.5: types of matrices, for --out FILE.gguf"

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"\d+\.?\d*", text.strip())
        if not found or not 1 <= float(found[0]) <= 16:
            raise InputError(f"expected bits for each weight, from 1 to 16, such as 4.5, got '{text}'", cls.option)
        return float(found[0])

    def bits(self, subject: Subject) -> float:  # noqa: ARG002
        return self.value

    @property
    def budget(self) -> Json:
        return {"use": "bits_per_weight", "at_most": self.value}

    def experiment(self, subject: Subject, evaluations: float) -> Json:
        if not subject.one_file:
            raise InputError("is for --out FILE.gguf", self.option)
        return super().experiment(subject, evaluations)


class Sparsity(Recipe):
    """As ``problems/smollm2_best.yaml``: GBLM, equal marginal costs, least squares, or a cheaper update."""

    option, example = "--sparsity", "0.5"
    help = "set a share of the weights to zero, as in 0.5 or 50%%"
    differentiates = True

    def __init__(self, value: float, update: str = "least_squares") -> None:
        super().__init__(value)
        self._update = update

    def needs_gradients(self, subject: Subject) -> bool:
        """If there is memory for them; else the score reads activations alone."""
        return subject.gradients is not None

    def update_seconds(self, subject: Subject) -> float:
        return SOLVING[self._update] * subject.inputs * subject.scored

    def cheaper(self) -> Recipe | None:
        left = list(SOLVING)[list(SOLVING).index(self._update) + 1 :]
        return Sparsity(self.value, left[0]) if left else None

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002
        return 12, 220

    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Genes for blocks and for kinds of matrix, if measuring the cost of each leaves most of the search."""
        probes = _PROBED * (subject.blocks + subject.kinds)
        return {
            "problem": {
                "use": "pruning",
                "sparsity": self.value,
                "score": "gblm" if self.needs_gradients(subject) else "wanda",
                "genes": "block_and_kind" if 3 * probes <= evaluations else "block",
                "reconstruct": self._update,
                "curve": [],
            },
            "operators": {
                "algorithm": {"use": "equal_marginals", "probe": 0.08, "screening": _PROBED},
                "mutate": {"use": "exchange", "step": 0.1, "moves": 3},
                "repair": "shift",
            },
        }


class Speedup(Recipe):
    """Heads and channels under a budget of milliseconds."""

    option, example, metavar, narrows = "--speedup", "1.5", "TIMES", True
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels"

    def __init__(self, value: float, timed: float = _TIMED) -> None:
        super().__init__(value)
        self._timed = timed

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*x?", text.strip())
        if not found or not 1 < float(found[1]) <= 100:
            raise InputError(f"expected how many times as fast, above 1, such as 1.5, got '{text}'", cls.option)
        return float(found[1])

    def setup_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - the same for all models
        return _MODELS * self._timed

    def cheaper(self) -> Recipe | None:
        return Speedup(self.value, _SHORT) if self._timed > _SHORT else None

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """Twice the costs of all levels, as a level takes a whole window if few are searched; and some rounds."""
        return _rounds_after(2 * _SCREENING * _LEVELS * subject.blocks)

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        """Search as is best under a limit of time (docs/structure.md)."""
        length = min(_LENGTH, subject.positions // 2)
        load = {"phase": "decode", "batch": 1, "length": length, "seconds": self._timed}
        made = narrower(subject, {"use": "milliseconds", "speedup": self.value, **load})
        return made | {"operators": _additive()}


RECIPES: tuple[type[Recipe], ...] = (Remove, Size, Bits, Sparsity, Speedup)


def narrower(subject: Subject, budget: Json) -> Json:
    """Return an experiment that removes heads and channels, as ``problems/smollm2_structure.yaml``.

    Heads stay if the model's code does not run with fewer. Raises :class:`evoprune.InputError` for a model whose blocks
    cannot be taken apart.
    """
    if subject.width is None:
        raise InputError("this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune")
    units = {"score": "structured_obs", "compensate": True}
    heads = [{"use": "heads", **units}] if subject.heads else []
    return {
        "problem": {
            "use": "language_model",
            "objective": "kl",
            "transforms": [*heads, {"use": "channels", "step": channel_step(subject.width), **units}],
            "budget": budget,
        },
        "operators": {"algorithm": "equal_marginals", "mutate": {"use": "exchange", "moves": 3}, "repair": "shift"},
    }


def channel_step(width: int) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it."""
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = [size for size in fitting if size % _LEAST_STEP == 0] or fitting
    return min(whole, key=lambda size: abs(size - width / _WIDTHS))


def _additive() -> Json:
    """Operators that measure the cost of each level on a share of the windows."""
    return {"algorithm": {"use": "additive", "screening": _SCREENING}, "repair": "shift"}


def _rounds_after(costs: float) -> tuple[float, float]:
    return costs + _ROUNDS[0], costs + _ROUNDS[1]
