"""Goals of the command ``prune``: the option of each, the template that reaches it, and its slots. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from evoprune import InputError
from evoprune.problems.language_model.export import KvType
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH
from evoprune.problems.language_model.models.weight_files import read_gguf
from evoprune.problems.language_model.prune.template import Json, goal_rules
from evoprune.problems.language_model.results.summary import megabytes

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.prune.subject import Subject

Times = Callable[[], Mapping[str, float]]

FAST = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_NL")  # types that llama.cpp multiplies fast

_NEAR = 1.08  # times the least bytes of types, below which cuts and types lose less (docs/measurements/joint.md)
_SOME = 0.1  # share of the parameters that is removed even near the border
_DROPPED = 0.4  # share of the parameters beyond which whole attentions and MLPs of a file may go
_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands


class Goal:
    """A goal, under the option that names it, and the ``value`` that was given for it: a share, by default.

    ``only``: its template, if it has one for all models. ``mixtures``: whether experts can be removed for it.
    """

    option: ClassVar[str]
    metavar: ClassVar[str] = "SHARE"
    help: ClassVar[str]
    only: ClassVar[str | None] = None
    mixtures: ClassVar[bool] = True

    def __init__(self, value: float = 0) -> None:
        self.value = value

    @classmethod
    def read(cls, text: str) -> float:
        """Return the value in ``text``, a number and a unit. Raises :class:`evoprune.InputError`."""
        rules, parts = goal_rules(cls.name()), re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([a-z%]*)", text.strip().lower())
        units = {unit.lower(): factor for unit, factor in rules["units"].items()}
        value = round(float(parts[1]) * units.get(parts[2], 0.0), 9) if parts else 0.0
        if not rules["between"][0] < value < rules["between"][1]:
            raise InputError(f"expected {rules['expects']}, got '{text}'", cls.option)
        return value

    @classmethod
    def name(cls) -> str:
        """Return the option without its dashes."""
        return cls.option.removeprefix("--")

    def removed(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Return about the share of the blocks' parameters that are removed, if some are."""
        return self.value

    def cuts(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        """Return whether heads and channels, or experts, are removed."""
        return self.only is None

    def types(self, subject: Subject, times: Times) -> Sequence[str]:  # noqa: ARG002 - a default
        """Return the types to choose from, in addition to the source's. ``times``: of :meth:`.Subject.types`."""
        return ()

    def template(self, subject: Subject) -> str:
        """Return the name of the template. Raises InputError for a model that has none."""
        if subject.experts and not self.mixtures and (self.only or self.cuts(subject)):
            raise InputError("is not for mixtures of experts: give --size or --remove", self.option)
        if self.only:
            return self.only
        if not self.cuts(subject):
            return "types"
        if subject.experts:
            return "experts"
        if subject.width is None:
            raise InputError(
                "this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune"
            )
        return "joint" if subject.one_file else "narrower"

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        """Return the slots of :meth:`template` with ``types``. ``short``: whether to time the machine quickly."""
        removed, alike = self.removed(subject), subject.one_file and subject.form != BLOCKS
        block = max(map(ggml.block_size, {*subject.quantised, *types}), default=_LEAST_STEP)
        return {
            **vars(subject),
            "goal": self.name(),
            "value": self.value,
            "bytes": int(self.value),
            "short": short,
            "types": [*types],
            "typed": bool(types or subject.quantised),
            "from_source": bool(subject.quantised) or None,
            "alike": alike,
            "heads": subject.heads and not alike,
            "blocks_go": subject.form == ONE_WIDTH,
            "drop": False if alike or removed < _DROPPED else None,
            "step": subject.width and channel_step(subject.width, block),
            "changed": removed * subject.weight_size if subject.roomy else None,
        }


class Remove(Goal):
    """Heads and channels under a budget of parameters."""

    option = "--remove"
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels, or experts"


class Size(Goal):
    """Types of GGUF, whose scales are trained; with cuts if types alone hardly reach it, or not at all.

    For a folder cuts alone: heads and channels, or experts.
    """

    option, metavar = "--size", "BYTES"
    help = "make the weights no larger, as in 80MB: types of matrices for --out FILE.gguf, else fewer heads, channels"
    beside: float = 0.0  # bytes of memory that a user counts, too
    options: Sequence[str] = ()  # that belong to it

    def cuts(self, subject: Subject) -> bool:
        if not subject.one_file:
            return True
        return (subject.width is not None or subject.experts) and self._asked(subject) < _NEAR * subject.least_bits

    def _asked(self, subject: Subject) -> float:
        """About the bits of a weight in the wanted file."""
        return 8 * self.value / subject.weights

    def types(self, subject: Subject, times: Times) -> Sequence[str]:
        return subject.types(max(self._asked(subject), subject.least_bits), times()) if subject.one_file else ()

    def removed(self, subject: Subject) -> float:
        return max(_SOME, 1 - self._asked(subject) / subject.least_bits) if subject.least else _SOME


class Bits(Size):
    """Types of GGUF under a budget of bits for each weight."""

    option, metavar = "--bits", "BITS"
    help = "so many bits a weight of a .gguf file, as in 4.5: types of matrices, for --out FILE.gguf"

    def _asked(self, subject: Subject) -> float:  # noqa: ARG002
        return self.value


class Fits(Size):
    """The size of a file that leaves room for the cache and the buffers of a context."""

    option, metavar = "--fits", "MEMORY"
    help = (
        "make llama.cpp take no more memory, with --context tokens, as in 8GB; ram or vram: no more than is free here"
    )
    CONTEXT: ClassVar[int] = 4096  # tokens, by default
    CACHES: ClassVar[Sequence[str]] = get_args(KvType)  # types of keys and values, the default first

    @classmethod
    def read(cls, text: str) -> float:
        place = {"ram": "cpu", "vram": "auto"}.get(text.strip().lower())
        if place is None:
            return super().read(text)
        from evoprune.problems.language_model.models.device import free_memory, pick_device

        device = pick_device(place)
        if place == "auto" and device.type == "cpu":
            raise InputError("there is no GPU here; expected a size, such as 8GB", cls.option)
        return free_memory(device)

    def beside_context(self, model: str, base: str | None, context: int, kv: str) -> tuple[Fits, str]:
        """Return the goal for the file alone, and a remark on the memory that the ``context`` takes.

        Raises :class:`evoprune.InputError` without a .gguf file of the model, or for a context that it cannot read.
        """
        file = base or model
        if not file.endswith(".gguf"):
            raise InputError("needs a .gguf file of the model: give one as MODEL, or any with --base", self.option)
        if context > (positions := read_gguf(Path(file)).value(".context_length")):
            raise InputError(f"this model was trained for {positions:,} tokens, got {context:,}", "--context")
        from evoprune.problems.language_model.gguf.runtime import memory

        parts = memory(Path(file), context, kv)
        beside = parts["cache"] + parts["buffers"] + parts["process"]
        goal = type(self)(self.value - beside)
        goal.beside, goal.options = beside, ("--context", str(context), "--kv", kv)
        return goal, (
            f"a context of {context:,} tokens takes {megabytes(beside)} of {megabytes(self.value)} in llama.cpp, "
            f"{megabytes(parts['cache'])} of them for keys and values in {kv}: the rest is for the file"
        )


class Recipe(Goal):
    """The types of a recipe: nothing is chosen, scales alone are trained. ``value``: bytes, known with the model."""

    option, metavar = "--recipe", "FILE"
    help = "the types that a file gives each tensor, as for llama-quantize --tensor-type-file, for --out FILE.gguf"
    only = "types"

    def __init__(self, value: float = 1, file: str = "") -> None:
        super().__init__(value)
        self.file = file

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        return super().slots(subject, short, types) | {"recipe": self.file, "types": None}


class Sparsity(Goal):
    """As ``problems/smollm2_best.yaml``: GBLM, equal marginal costs, least squares, or a cheaper update."""

    option = "--sparsity"
    help = "set a share of the weights to zero, as in 0.5 or 50%%"
    only, mixtures = "sparsity", False


class Speedup(Goal):
    """Heads and channels, and in a .gguf file types, under a budget of milliseconds."""

    option, metavar = "--speedup", "TIMES"
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels, faster types"
    mixtures = False

    _SURE = 1.05  # times as many bits fewer as times as fast
    _LENGTHS = (256, 64)  # tokens before the one that is timed; in a short time

    def cuts(self, subject: Subject) -> bool:
        """Return False where types alone are fast enough and blocks have to be alike, so that cuts lose much more."""
        alike = subject.one_file and subject.form != BLOCKS
        return not (alike and subject.shrinking >= self._SURE * self.value)

    def types(self, subject: Subject, times: Times) -> Sequence[str]:  # noqa: ARG002
        fitting = [kind for kind in FAST if any(ggml.fits(kind, width) for width in subject.widths)]
        return fitting if subject.quantised else ()

    def removed(self, subject: Subject) -> float:
        return 1 - 1 / self.value if self.cuts(subject) else 0.0

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        length = min(self._LENGTHS[short], subject.positions // 2)
        return super().slots(subject, short, types) | {"length": length}


class Unneeded(Goal):
    """The goal where no other one is given: as the source, with ``value`` tokens."""

    option = "--vocabulary"
    only = "vocabulary"


GOALS: tuple[type[Goal], ...] = (Remove, Size, Bits, Fits, Recipe, Sparsity, Speedup)


def channel_step(width: int, block: int = _LEAST_STEP) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it.

    A multiple of ``block`` or else of 32, if some is.
    """
    sizes = (size for size in range(_LEAST_STEP, width + 1) if width % size == 0)
    return min(sizes, key=lambda size: (size % block > 0, size % _LEAST_STEP > 0, abs(size - width / _WIDTHS)))
