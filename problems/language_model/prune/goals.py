"""Goals of the command ``prune``: the option of each, the template that reaches it, and its slots. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH
from evoprune.problems.language_model.prune.template import Json

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.prune.subject import Subject

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_NEAR = 1.08
"""Below so many times the least bytes of types alone, cuts and types together lose less (docs/measurements/joint.md).

The least of SmolLM2 is 68 MB, and types alone are best from 75 MB on; that of the bundled model is 2.63 MB, and cuts
help at 2.7 MB.
"""

_SOME = 0.1  # share of the parameters that is removed even near the border
_DROPPED = 0.4  # share of the parameters beyond which whole attentions and MLPs of a file may go
_RATE, _OF_ROWS = 3e-3, 2.5e-4  # for all weights, times their size: for each removed share, and after rows of tokens
_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands
_ALGORITHMS: tuple[Json, Json] = (
    {"use": "greedy", "screening": 0.25},
    {"use": "additive", "screening": 0.125, "offspring": 6, "survivors": 1},
)


class Goal(ABC):
    """A goal, under the option that names it, and the ``value`` that was given for it."""

    option: ClassVar[str]
    example: ClassVar[str]
    metavar: ClassVar[str] = "SHARE"
    help: ClassVar[str]

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

    def removed(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Return about the share of the blocks' parameters that are removed, if some are."""
        return self.value

    def cuts(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        """Return whether heads and channels, or experts, are removed."""
        return True

    def bits(self, subject: Subject) -> float | None:  # noqa: ARG002 - a default
        """Return about the bits of a weight that types are to reach; None for those of the source alone."""
        return None

    def fast_types(self, subject: Subject) -> Sequence[str]:  # noqa: ARG002 - a default
        """Return the types to choose from where no number of bits is asked for."""
        return ()

    @abstractmethod
    def limit(self, subject: Subject, short: bool) -> Json | float:
        """Return the budget; ``short``: with quick measurements of the machine."""

    def template(self, subject: Subject) -> str:
        """Return the name of the template. Raises InputError for a model whose blocks cannot be taken apart."""
        if not self.cuts(subject):
            return "types"
        if subject.experts:
            return "experts"
        if subject.width is None:
            raise InputError(
                "this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune"
            )
        if not subject.one_file:
            return "narrower"
        return "joint" if subject.form == BLOCKS else "joint_alike"

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        """Return the slots of :meth:`template`; ``types``: that the search chooses from, beside those of the source."""
        removed = self.removed(subject)
        step = subject.width and channel_step(
            subject.width, max(map(ggml.block_size, subject.quantised | {*types}), default=_LEAST_STEP)
        )
        alone = not self.cuts(subject)
        return {
            "limit": self.limit(subject, short),
            "types": [*types],
            "typed": bool(types or subject.quantised),
            "from_source": True if subject.quantised else None,
            "base": None if subject.quantised and not alone else subject.base,
            "heads": subject.heads,
            "blocks_go": subject.form == ONE_WIDTH,
            "drop": False if removed < _DROPPED else None,
            "step": step,
            "genes": "model" if subject.one_file else "block",
            "algorithm": _ALGORITHMS[subject.one_file],
            "train": "all" if subject.roomy else "scales" if subject.one_file else "norms",
            "rate": subject.rate(_RATE * removed) if subject.roomy else None,
        }


class Remove(Goal):
    """Heads and channels under a budget of parameters."""

    option, example = "--remove", "25%"
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels, or experts"

    def limit(self, subject: Subject, short: bool) -> Json:  # noqa: ARG002
        return {"use": "parameters", "removed": self.value}


class Size(Goal):
    """Types of GGUF, whose scales are trained; with cuts if types alone hardly reach it, or not at all.

    For a folder cuts alone: heads and channels, or experts.
    """

    option, example, metavar = "--size", "80MB", "BYTES"
    help = "make the weights no larger, as in 80MB: types of matrices for --out FILE.gguf, else fewer heads, channels"

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d{1,12}(?:\.\d*)?)\s*([A-Za-z]*)", text.strip())
        units = {unit.lower(): factor for unit, factor in _UNITS.items()}
        if not found or found[2].lower() not in units or not float(found[1]):
            raise InputError(f"expected a size with one of {', '.join(_UNITS)}, such as 80MB, got '{text}'", cls.option)
        return float(round(float(found[1]) * units[found[2].lower()]))

    def cuts(self, subject: Subject) -> bool:
        if not subject.one_file:
            return True
        return (subject.width is not None or subject.experts > 0) and self._asked(subject) < _NEAR * subject.least_bits

    def _asked(self, subject: Subject) -> float:
        """About the bits of a weight in the wanted file."""
        return 8 * self.value / subject.weights

    def bits(self, subject: Subject) -> float | None:
        """With cuts those of types alone that are smallest."""
        if not subject.one_file:
            return None
        return max(self._asked(subject), subject.least_bits) if self.cuts(subject) else self._asked(subject)

    def removed(self, subject: Subject) -> float:
        return max(_SOME, 1 - self._asked(subject) / subject.least_bits) if subject.least else _SOME

    def limit(self, subject: Subject, short: bool) -> Json:  # noqa: ARG002
        return {"use": "bytes", "at_most": int(self.value)}


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

    def _asked(self, subject: Subject) -> float:  # noqa: ARG002
        return self.value

    def limit(self, subject: Subject, short: bool) -> Json:  # noqa: ARG002
        return {"use": "bits_per_weight", "at_most": self.value}


class Sparsity(Goal):
    """As ``problems/smollm2_best.yaml``: GBLM, equal marginal costs, least squares, or a cheaper update."""

    option, example = "--sparsity", "0.5"
    help = "set a share of the weights to zero, as in 0.5 or 50%%"

    def limit(self, subject: Subject, short: bool) -> float:  # noqa: ARG002
        return self.value

    def template(self, subject: Subject) -> str:
        if subject.experts:
            raise InputError("weights of experts are not set to zero yet: give --size or --remove", self.option)
        return "sparsity"

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        score = "gblm" if subject.differentiable else "wanda"
        genes, update = ("block", "none") if short else ("block_and_kind", "least_squares")
        return super().slots(subject, short, types) | {"score": score, "genes": genes, "reconstruct": update}


class Speedup(Goal):
    """Heads and channels, and in a .gguf file types, under a budget of milliseconds."""

    option, example, metavar = "--speedup", "1.5", "TIMES"
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels, faster types"

    FAST: ClassVar[Sequence[str]] = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_NL")  # types that llama.cpp multiplies fast
    _SURE = 1.05  # times as many bits fewer as times as fast
    _SECONDS, _LENGTHS = (8.0, 2.0), (256, 64)  # that each level is timed, after so many tokens; in a short time

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*x?", text.strip())
        if not found or not 1 < float(found[1]) <= 100:
            raise InputError(f"expected how many times as fast, above 1, such as 1.5, got '{text}'", cls.option)
        return float(found[1])

    def cuts(self, subject: Subject) -> bool:
        """Return False where types alone are fast enough and blocks have to be alike, so that cuts lose much more."""
        alike = subject.one_file and subject.form != BLOCKS
        return not (alike and subject.shrinking(self.FAST) >= self._SURE * self.value)

    def fast_types(self, subject: Subject) -> Sequence[str]:
        return self.FAST if subject.quantised else ()

    def removed(self, subject: Subject) -> float:
        return 1 - 1 / self.value if self.cuts(subject) else 0.0

    def template(self, subject: Subject) -> str:
        if subject.experts and self.cuts(subject):
            raise InputError("fewer experts make no token faster: give --size or --remove", self.option)
        return super().template(subject)

    def limit(self, subject: Subject, short: bool) -> Json:
        load = {"phase": "decode", "batch": 1, "length": min(self._LENGTHS[short], subject.positions // 2)}
        return {"use": "milliseconds", "speedup": self.value, **load, "seconds": self._SECONDS[short]}


class Unneeded(Goal):
    """The goal where no other one is given: as the source, without the tokens that a text hardly needs."""

    option: ClassVar[str] = "--vocabulary"

    def __init__(self, size: float = 0.0, removed: float = 0.0) -> None:
        """``size``: bytes of weights; ``removed``: parameters, as a share of the blocks'."""
        super().__init__(size)
        self._removed = removed

    def cuts(self, subject: Subject) -> bool:  # noqa: ARG002
        return False

    def limit(self, subject: Subject, short: bool) -> Json:  # noqa: ARG002
        if subject.quantised:
            return {"use": "bytes", "at_most": int(self.value)}
        return {"use": "parameters", "removed": self._removed}

    def template(self, subject: Subject) -> str:  # noqa: ARG002
        return "vocabulary"

    def slots(self, subject: Subject, short: bool, types: Sequence[str]) -> Json:
        train = "scales" if subject.quantised else "all" if subject.roomy else "norms"
        rate = None if subject.quantised else subject.rate(_OF_ROWS)
        return super().slots(subject, short, types) | {"train": train, "rate": rate}


def channel_step(width: int, block: int = _LEAST_STEP) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it.

    A multiple of ``block`` or else of 32, if some is.
    """
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = next(
        (found for of in (block, _LEAST_STEP) if (found := [size for size in fitting if size % of == 0])), fitting
    )
    return min(whole, key=lambda size: abs(size - width / _WIDTHS))
