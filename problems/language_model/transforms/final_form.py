"""The second interface of transforms: the final form of a model, beyond the changes that a candidate needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class FinalForm:
    """Makes the final model of a genome and writes it. All has a default: cuts that need no more than ``apply``."""

    vocabularies: Sequence[Sequence[int] | None] = ()
    """Of a transform that removes tokens: the remaining ones at each level of its only gene, None for all."""

    @property
    def updates(self) -> bool:
        """True if :meth:`finalise` does more than ``apply``."""
        return False

    if TYPE_CHECKING:  # of the transform

        def apply(self, genome: Sequence[float]) -> None: ...

    def finalise(self, genome: Sequence[float]) -> None:
        """Make the resident model the final one of ``genome``, including updates of the remaining weights."""
        self.apply(genome)

    @property
    def plain(self) -> bool:
        """True if the model as it is now can be saved in a form that transformers loads, after :meth:`write`."""
        return True

    def write(self, model: Any) -> None:
        """Change ``model``, a copy of the final resident model, into the model that is saved, if :attr:`plain`."""

    def remaining_inputs(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the inputs that remain, int64 and rising, by the names of narrowed matrices."""
        return {}

    def remaining_rows(self, genome: Sequence[float]) -> Mapping[str, torch.Tensor]:  # noqa: ARG002 - a default
        """Return the indices of the rows that remain, int64 and rising, of embedding, head and stacked experts."""
        return {}

    def remaining_tokens(self, genome: Sequence[float]) -> Sequence[int] | None:
        """Return the remaining tokens, rising; None if all remain."""
        return self.vocabularies[int(genome[0])] if self.vocabularies else None
