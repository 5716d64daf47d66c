"""The facts about a model that goals and templates of the command ``prune`` depend on. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS

_SHRINKABLE = frozenset({"F16", "BF16", *ggml.COMMON})  # kinds of a source; matrices in others stay in 32 bits


@dataclass(frozen=True)
class Subject:
    """A model, as far as goals and templates depend on it. The facts from ``widths`` on are of .gguf files alone."""

    width: int | None  # of an MLP; None if MLPs cannot be narrowed
    heads: bool  # whether some can go
    parameters: int  # of the model
    block_parameters: int  # of these, in the blocks
    weight_size: float  # root mean square, by which rates are given (Shazeer and Stern, "Adafactor", ICML 2018, 8)
    experts: bool = False  # whether some can go
    roomy: bool = False  # whether there is memory to train all weights
    differentiable: bool = False  # whether there is memory for gradients of all weights
    one_file: bool = False  # whether the result is to be a .gguf file
    widths: Mapping[int, int] = field(default_factory=dict)  # weights with rows of each length, in typed matrices
    kinds: frozenset[str] = frozenset()  # types in the source
    form: str = BLOCKS  # of blocks: see evoprune.problems.language_model.gguf.sources.cuts_of
    least: float = 0.0  # about the bytes of the smallest file of types alone
    shrinking: float = 1.0  # see headers.Headers

    @property
    def alike(self) -> bool:
        """True if all blocks must have one width."""
        return self.form != BLOCKS

    @property
    def quantised(self) -> frozenset[str]:
        """The quantised types of the source that a .gguf file may keep."""
        return self.kinds - ggml.FLOATS

    @property
    def weights(self) -> int:
        return max(1, sum(self.widths.values()))

    @property
    def fitting(self) -> frozenset[str]:
        """The types that some rows fit."""
        return frozenset(kind for kind in ggml.COMMON if any(ggml.fits(kind, width) for width in self.widths))

    @property
    def least_bits(self) -> float:
        """The bits of a weight in the smallest file of types alone."""
        return 8 * self.least / self.weights

    def types_within(self, bits: float, times: Mapping[str, float] = MappingProxyType({})) -> list[str]:
        """The types to choose from, from more to fewer bits; none is as large as all of the source's.

        ``times``: to quantise all weights, as a share of the time for it; types above 1 stay out. But for rows of each
        width there is one of at most ``bits`` a weight, the fastest to make, or else the smallest.
        """
        chosen: set[str] = set()
        for width in self.widths:
            if fitting := [kind for kind in ggml.COMMON if ggml.fits(kind, width)]:
                chosen.add(min(fitting, key=lambda kind: (max(bits, ggml.bits(kind)), times.get(kind, 0.0))))
                chosen |= {kind for kind in fitting if times.get(kind, 0.0) <= 1}
        return self.ordered(chosen)

    def ordered(self, kinds: Iterable[str]) -> list[str]:
        """The types among ``kinds`` with fewer bits than all of the source's, from more to fewer bits."""
        most = max(map(ggml.bits, self.kinds & _SHRINKABLE), default=math.inf)
        return sorted((kind for kind in kinds if ggml.bits(kind) < most), key=lambda kind: (-ggml.bits(kind), kind))
