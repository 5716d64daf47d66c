"""The types of GGUF that a plan lets a search choose from, and the time that ggml takes for them. Imports no torch."""

from collections.abc import Collection, Mapping
from typing import NamedTuple


class _Type(NamedTuple):
    bits: float  # of a weight
    nanoseconds: float  # of a thread that quantises a weight, with importance; measured on one processor with AVX2
    block: int  # weights that are stored together


_TYPES = {
    "Q8_0": _Type(8.5, 26, 32), "Q6_K": _Type(6.5625, 63, 256), "Q5_1": _Type(6.0, 221, 32),
    "Q5_0": _Type(5.5, 49, 32), "Q5_K": _Type(5.5, 246, 256), "Q4_1": _Type(5.0, 243, 32), "Q4_0": _Type(4.5, 58, 32),
    "IQ4_NL": _Type(4.5, 418, 32), "Q4_K": _Type(4.5, 230, 256), "IQ4_XS": _Type(4.25, 395, 256),
    "MXFP4": _Type(4.25, 9, 32), "Q3_K": _Type(3.4375, 75, 256), "Q2_K": _Type(2.625, 311, 256),
}  # fmt: skip

_FAST = ("Q8_0", "Q6_K", "Q5_0", "Q4_0", "MXFP4", "Q3_K", "Q2_K")
_FINE = ("Q8_0", "Q6_K", "Q5_0", "Q5_K", "IQ4_NL", "Q4_K", "MXFP4", "Q3_K", "Q2_K")
"""Types that no mixture of others matches in bits and error; the fast ones lose more, in a seventh of the time."""

_BELOW, _ABOVE = 1.3, 2.3  # bits around the wanted ones within which matrices are found
_OWN = 1.5  # bits above the wanted ones up to which a type of the source, which loses nothing, is of use


def types_near(bits: float, widths: Collection[int], own: Collection[str], fast: bool) -> list[str]:
    """The types for ``bits`` a weight, from more to fewer, of matrices with rows of ``widths``.

    ``own``: the types of the source. ``fast``: those that take little time. For each width there is one that has no
    more than ``bits``, or else the smallest.
    """
    usual = [kind for kind in (_FAST if fast else _FINE) if _fitting(kind, widths)]
    near = {kind for kind in usual if -_BELOW <= _TYPES[kind].bits - bits <= _ABOVE} | {"Q8_0"}
    near |= {kind for kind in own if kind in _TYPES and _TYPES[kind].bits - bits <= _OWN and _fitting(kind, widths)}
    for width in widths:
        fitting = sorted((kind for kind in usual if _fitting(kind, [width])), key=lambda kind: _TYPES[kind].bits)
        if fitting and not any(_TYPES[kind].bits <= bits for kind in near & {*fitting}):
            below = [kind for kind in fitting if _TYPES[kind].bits <= bits]
            near.add(below[-1] if below else fitting[0])
    return sorted(near, key=lambda kind: (-_TYPES[kind].bits, kind))


def quantising_seconds(kinds: Collection[str], weights: Mapping[int, int]) -> float:
    """Seconds that one thread takes to quantise ``weights``, numbers of them by the length of their rows."""
    return sum(
        1e-9 * _TYPES[kind].nanoseconds * count
        for kind in kinds
        for width, count in weights.items()
        if _fitting(kind, [width])
    )


def _fitting(kind: str, widths: Collection[int]) -> bool:
    return any(width % _TYPES[kind].block == 0 for width in widths)
