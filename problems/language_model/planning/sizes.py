"""Goals of the command ``prune`` that are sizes of files: the types that a search chooses from. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.planning.recipe import (
    Json,
    Recipe,
    Subject,
    additive,
    evaluations_of_cuts,
    narrower,
)

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
OF_TYPES = (2, 60)  # evaluations of a search that knows the costs of its levels, whose first child is nearly best

_SOME = 0.1  # share of the parameters that is removed even near the border

_NEAR = 1.08
"""Below so many times the least bytes of types alone, cuts and types together lose less (docs/measurements/joint.md).

The least of SmolLM2 is 68 MB, and types alone are best from 75 MB on; that of the bundled model is 2.63 MB, and cuts
help at 2.7 MB.
"""


class Size(Recipe):
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

    def __init__(self, value: float, fast: bool = False) -> None:
        super().__init__(value)
        self._fast = fast

    def setup_seconds(self, subject: Subject) -> float:
        if not subject.one_file:
            return super().setup_seconds(subject)
        return sum(quantising_seconds(*each) for each in self._smaller(subject)) / subject.threads

    def cached_bytes(self, subject: Subject) -> float:
        return sum(quantised_bytes(*each) for each in self._smaller(subject)) if subject.one_file else 0.0

    def _smaller(self, subject: Subject) -> list[tuple[list[str], Mapping[int, int]]]:
        """The types that matrices are quantised to, which are smaller than that of the source, and their widths."""
        types = [*self.types(subject)]
        if not subject.quantised:
            return [(types, subject.widths)]
        most = {kind: _bits_of(kind) for kind in subject.by_kind}
        return [
            ([kind for kind in types if _TYPES[kind].bits < most[own]], widths)
            for own, widths in subject.by_kind.items()
        ]

    def cheaper(self) -> Recipe | None:
        return None if self._fast else type(self)(self.value, fast=True)

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        if not subject.one_file:
            return super().evaluations(subject)
        return evaluations_of_cuts(subject) if self.cuts(subject) else OF_TYPES

    def cuts(self, subject: Subject) -> bool:
        if not subject.one_file:
            return True
        return (subject.width is not None or subject.experts > 0) and self.bits(subject) < _NEAR * _least_bits(subject)

    def bits(self, subject: Subject) -> float:
        """About the bits of a weight in the wanted file."""
        return 8 * self.value / max(1, sum(subject.widths.values()))

    def removed(self, subject: Subject) -> float:
        return max(_SOME, 1 - self.bits(subject) / _least_bits(subject)) if subject.least else _SOME

    def types(self, subject: Subject) -> Sequence[str]:
        """As of any recipe: with cuts those by which types alone are smallest."""
        bits = max(self.bits(subject), _least_bits(subject)) if self.cuts(subject) else self.bits(subject)
        return types_near(bits, subject.widths, subject.kinds_of_source, self._fast)

    @property
    def budget(self) -> Json:
        return {"use": "bytes", "at_most": int(self.value)}

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        if not subject.one_file:
            return narrower(subject, self.budget, self.removed(subject))
        if self.cuts(subject):
            made = narrower(subject, self.budget, self.removed(subject), self.types(subject))
            return made | {"operators": additive(cuts=True)}
        return retyped(subject, self.budget, self.types(subject))


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


class _Type(NamedTuple):
    bits: float  # of a weight
    nanoseconds: float  # of a thread that quantises a weight and compares it; measured on a processor with AVX2


_TYPES = {
    "Q8_0": _Type(8.5, 22), "Q6_K": _Type(6.5625, 57), "Q5_1": _Type(6.0, 153),
    "Q5_0": _Type(5.5, 49), "Q5_K": _Type(5.5, 163), "Q4_1": _Type(5.0, 155), "Q4_0": _Type(4.5, 46),
    "IQ4_NL": _Type(4.5, 269), "Q4_K": _Type(4.5, 158), "IQ4_XS": _Type(4.25, 266),
    "MXFP4": _Type(4.25, 20), "Q3_K": _Type(3.4375, 60), "Q2_K": _Type(2.625, 198),
}  # fmt: skip


def retyped(subject: Subject, budget: Json, types: Sequence[str]) -> Json:
    """Return an experiment that gives matrices other types alone."""
    made: Json = {"use": "types", "base": subject.base, "types": types}
    if subject.quantised:
        made["from_source"] = True
    problem: Json = {"use": "language_model", "objective": "kl", "transforms": made, "budget": budget}
    problem["reuse_mib"] = 0  # children differ from the first blocks on: 1% of the states would be used again
    return {"problem": problem, "operators": additive()}


def shrinking(subject: Subject, kinds: Collection[str]) -> float:
    """Return how many times as many bits the quantised source has as one with the smallest of ``kinds``."""
    own = least = 0.0
    for kind, widths in subject.by_kind.items():
        bits = _bits_of(kind)
        for width, count in widths.items():
            own += count * bits
            least += count * min([bits, *(_TYPES[each].bits for each in kinds if _fitting(each, [width]))])
    return own / least if least else 1.0


_FAST = ("Q8_0", "Q6_K", "Q5_0", "Q4_0", "MXFP4", "Q3_K", "Q2_K")
_FINE = ("Q8_0", "Q6_K", "Q5_0", "Q5_K", "IQ4_NL", "Q4_K", "MXFP4", "Q3_K", "Q2_K")
"""Types that no mixture of others matches in bits and error; the fast ones lose more, in a seventh of the time."""

_BELOW, _ABOVE = 1.3, 2.3  # bits around the wanted ones within which matrices are found
_HALVES, _MOST_BITS = {"F16", "BF16"}, 16.0  # which any type makes smaller


def _bits_of(kind: str) -> float:
    """The bits of a weight in ``kind``, of a source."""
    return _TYPES[kind].bits if kind in _TYPES else _MOST_BITS


def types_near(bits: float, widths: Collection[int], own: Collection[str], fast: bool) -> list[str]:
    """The types for ``bits`` a weight, from more to fewer, of matrices with rows of ``widths``.

    ``own``: the types of the source, of which one that is no larger needs no other. ``fast``: those that take little
    time. For each width there is one that has no more than ``bits``, or else the smallest.
    """
    usual = [kind for kind in (_FAST if fast else _FINE) if _fitting(kind, widths)]
    near = {kind for kind in usual if -_BELOW <= _TYPES[kind].bits - bits <= _ABOVE} | {"Q8_0"}
    for width in widths:
        fitting = sorted((kind for kind in usual if _fitting(kind, [width])), key=lambda kind: _TYPES[kind].bits)
        if fitting and not any(_TYPES[kind].bits <= bits for kind in near & {*fitting}):
            below = [kind for kind in fitting if _TYPES[kind].bits <= bits]
            near.add(below[-1] if below else fitting[0])
    most = max((_TYPES[kind].bits for kind in own if kind in _TYPES), default=_MOST_BITS)
    if not {*own} & _HALVES:
        near = {kind for kind in near if _TYPES[kind].bits < most}
    return sorted(near, key=lambda kind: (-_TYPES[kind].bits, kind))


def quantising_seconds(kinds: Collection[str], weights: Mapping[int, int]) -> float:
    """Seconds that one thread takes to quantise ``weights``, numbers of them by the length of their rows."""
    return 1e-9 * sum(_TYPES[kind].nanoseconds * count for kind, count in _quantised(kinds, weights))


def quantised_bytes(kinds: Collection[str], weights: Mapping[int, int]) -> float:
    """Bytes of ``weights``, as of :func:`quantising_seconds`, in each of ``kinds``."""
    return sum(_TYPES[kind].bits / 8 * count for kind, count in _quantised(kinds, weights))


def _quantised(kinds: Collection[str], weights: Mapping[int, int]) -> Iterator[tuple[str, int]]:
    for kind in kinds:
        yield kind, sum(count for width, count in weights.items() if _fitting(kind, [width]))


def _fitting(kind: str, widths: Collection[int]) -> bool:
    return any(ggml.fits(kind, width) for width in widths)


def _least_bits(subject: Subject) -> float:
    """The bits of a weight in the smallest file of types alone."""
    return 8 * subject.least / max(1, sum(subject.widths.values()))
