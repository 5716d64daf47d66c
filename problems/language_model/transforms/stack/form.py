"""The final form of a stack: its last weights, the bytes of quantised ones, and the shapes that remain."""

from collections.abc import Mapping, Sequence
from typing import Any

from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.transforms.gguf_types.encodings import Encodings
from evoprune.problems.language_model.transforms.stack.parts import Parts


class StackForm(Parts):
    """The final form of the model; see :class:`evoprune.problems.language_model.transforms.transform.FinalForm`."""

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self.transforms)

    def finalise(self, genome: Sequence[float]) -> None:
        self._cut(genome)
        for transform, own in self._cuts(genome):
            transform.finalise(own)
        self._lay(genome)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self.transforms)

    def write(self, model: Any) -> None:
        for transform in self.transforms:
            transform.write(model)

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        known = (each.remaining_tokens(own) for each, own in self._split(genome))
        return next((tokens for tokens in known if tokens is not None), None)

    @property
    def loses_tokens(self) -> bool:
        """True if a genome may leave fewer tokens."""
        ends = ([gene.low for gene in self.genes], [gene.up for gene in self.genes])
        return any(self.remaining_tokens(genome) is not None for genome in ends)

    @property
    def cuts_blocks(self) -> bool:
        """True if blocks change by more than types."""
        return any(each is not self._overlay and not each.vocabularies for each in self.transforms)

    def shaping(self, genome: Sequence[float]) -> Sequence[float]:
        """The genes of ``genome`` that decide shapes: all but the last, which choose types."""
        return genome[: self._slices[-1].start] if self._overlay else genome

    @property
    def has_types(self) -> bool:
        """True if matrices are stored in quantised types."""
        return self._overlay is not None

    def encoded(self) -> Mapping[str, Encoded]:
        return self._overlay.encoded() if self._overlay else {}

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for a ``model`` that was trained before its matrices are quantised as in ``genome``."""
        if self._overlay is None:
            return {}
        return self._overlay.encode(model, genome[self._slices[-1]], lambda: self._remaining(genome))

    def unround(self) -> None:
        """Put back the weights that cuts leave, in place of weights in types."""
        if self._overlay:
            self._overlay.lift()

    @property
    def encodings(self) -> Encodings | None:
        """The bytes of matrices of the dense model, where a transform gives them types."""
        return self._overlay.encodings if self._overlay else None

    @property
    def base(self) -> str | None:
        return self._overlay.base if self._overlay else None
