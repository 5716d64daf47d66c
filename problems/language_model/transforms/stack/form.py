"""The final form of a stack: its last weights, the bytes of quantised ones, and the shapes that remain."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from evoprune.problems.language_model.gguf.ggml import Encoded
from evoprune.problems.language_model.transforms.stack.parts import Parts


class StackForm(Parts):
    """The final form of the model; see :class:`evoprune.problems.language_model.transforms.final_form.FinalForm`."""

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than ``apply``."""
        return any(transform.updates for transform in self.transforms)

    def finalise(self, genome: Sequence[float]) -> None:
        """Make the resident model the final one of ``genome``, including updates of the remaining weights."""
        self._cut(genome)
        for transform, own in self._cuts(genome):
            transform.finalise(own)
        self._lay(genome)

    @property
    def plain(self) -> bool:
        """True if the model as it is now can be saved in a form that transformers loads, after :meth:`write`."""
        return all(transform.plain for transform in self.transforms)

    def write(self, model: Any) -> None:
        """Change ``model``, a copy of the final resident model, into the model that is saved, if :attr:`plain`."""
        for transform in self.transforms:
            transform.write(model)

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        """Return the remaining tokens, rising; None if all remain."""
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
        """The genes of ``genome`` that decide shapes: all but those of types, which are the last."""
        return genome[: self._slices[-1].start] if self._overlay else genome

    @property
    def has_types(self) -> bool:
        """True if matrices are stored in quantised types."""
        return self._overlay is not None

    def encoded(self) -> Mapping[str, Encoded]:
        """The parameters that a .gguf file of the model as it is now holds in a quantised type, by their names."""
        return self._overlay.encoded() if self._overlay else {}

    def encode(self, model: Any, genome: Sequence[float]) -> Mapping[str, Encoded]:
        """As :meth:`encoded`, for a ``model`` that was trained before its matrices are quantised as in ``genome``."""
        if self._overlay is None:
            return {}
        return self._overlay.encode(model, genome[self._slices[-1]], lambda: self._remaining(genome))

    def unround(self) -> None:
        """Put back the weights that cuts leave, in place of those in types."""
        if self._overlay:
            self._overlay.lift()

    @property
    def stored_types(self) -> Mapping[str, torch.Tensor]:
        """The bytes of matrices that were quantised already; see ``levels.quantised``."""
        return self._overlay.stored if self._overlay else {}

    @property
    def base(self) -> str | None:
        """The .gguf file of the dense model that the settings name, if they do: exports copy its tokenizer."""
        return self._overlay.base if self._overlay else None
