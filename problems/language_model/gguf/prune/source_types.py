"""GGUF types in a source, and the smaller ones that fit its rows. Imports no torch."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.reader import Tensor
from evoprune.problems.language_model.gguf.sources import BLOCKS
from evoprune.problems.language_model.models.model_file import Stored
from evoprune.problems.language_model.prune.headers import Headers

FAST = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_NL")  # types that llama.cpp multiplies fast
TOKENS = 0.5  # share of the tokens that go before heads and channels do: half costs little

_SHRINKABLE = frozenset({"F16", "BF16", *ggml.COMMON, *ggml.NARROW})  # matrices of other types stay in 32 bits


@dataclass(frozen=True)
class SourceTypes:
    """The types of a model's matrices before and after.

    ``widths``: weights with rows of each length, in matrices whose type is chosen; ``types``: in the source. ``form``:
    of blocks, see :func:`.cuts_of`. ``least``: about the bytes of the smallest file by types alone. ``shrinking``: see
    :func:`shrinking`.
    """

    widths: Mapping[int, int] = field(default_factory=dict)
    types: frozenset[str] = frozenset()
    form: str = BLOCKS
    least: float = 0.0
    shrinking: float = 1.0

    @property
    def quantised(self) -> frozenset[str]:
        """The quantised types of the source that a file may keep."""
        return self.types - ggml.FLOATS

    @property
    def weights(self) -> int:
        return max(1, sum(self.widths.values()))

    @property
    def fitting(self) -> frozenset[str]:
        """The types that some rows fit."""
        usual = ggml.usual(self.widths)
        return frozenset(each for each in usual if any(ggml.fits(each, width) for width in self.widths))

    @property
    def least_bits(self) -> float:
        """The bits of a weight in the smallest file by types alone."""
        return 8 * self.least / self.weights

    def types_within(self, bits: float, times: Mapping[str, float] = MappingProxyType({})) -> list[str]:
        """Return the types to choose from, from more to fewer bits, all smaller than the source's.

        ``times``: to quantise all weights, as a share of the time for it; types above 1 are left out. For each width of
        rows, the fastest type of at most ``bits`` a weight is kept in any case, or else the smallest.
        """
        chosen: set[str] = set()
        for width in self.widths:
            if fitting := [each for each in self.fitting if ggml.fits(each, width)]:
                chosen.add(min(fitting, key=lambda each: (max(bits, ggml.bits(each)), times.get(each, 0.0))))
                chosen |= {each for each in fitting if times.get(each, 0.0) <= 1}
        return self.ordered(chosen)

    def ordered(self, types: Iterable[str]) -> list[str]:
        """Return the ``types`` with fewer bits than all of the source's, from more to fewer bits."""
        most = max(map(ggml.bits, self.types & _SHRINKABLE), default=math.inf)
        return sorted((each for each in types if ggml.bits(each) < most), key=lambda each: (-ggml.bits(each), each))


def least_bytes(headers: Headers, tokens: int = 0) -> float:
    """Return about the bytes of the smallest file by types alone; 0 if there are no files.

    ``tokens``: rows of embedding and head, if tokens may be left out.
    """
    tensors = headers.tensors.values()
    least = sum(4.0 * each.size for each in tensors if len(each.shape) == 1)
    least += sum(smallest(each, headers) for each in headers.matrices.values())
    if headers.is_file:
        least += headers.bytes - sum(each.bytes for each in tensors)
    rows = sum(each.size for each in tensors if each.shape[:1] == (tokens,))
    return least * (1 - TOKENS * rows / max(1, headers.weights))


def shrinking(headers: Headers) -> float:
    """Return the bits of the matrices by their bits in the smallest of :data:`FAST`; 1 if it is no .gguf file."""
    matrices = [each for each in headers.matrices.values() if isinstance(each, Tensor)]
    fast = sum(min(each.bytes, smallest(each, headers, FAST)) for each in matrices)
    return sum(each.bytes for each in matrices) / fast if matrices else 1.0


def smallest(matrix: Stored, headers: Headers, types: Collection[str] | None = None) -> float:
    """Return the bytes of ``matrix`` in the smallest of ``types``, by default the usual ones, or in 16 bits.

    GPT-2's folders transpose it.
    """
    widths = matrix.shape[-1:] if headers.is_file else matrix.shape
    fitting = (
        ggml.bits(each) for each in types or ggml.usual(widths) if any(ggml.fits(each, width) for width in widths)
    )
    return matrix.size / 8 * min(fitting, default=ggml.bits("F16"))
