"""What cuts share that take parts of a model out: their genes, and protected blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoprune import Genes, InputError
from problems.models.blocks import find_blocks
from problems.models.resident import Resident
from problems.texts.text_splits import Texts
from problems.transforms.transform import Transform


class Removal(Transform):
    """Takes parts of the blocks out; each gene has levels, the first of which takes nothing. Subclasses set them."""

    _genes: Genes

    def __init__(self, resident: Resident, settings: Any, texts: Texts) -> None:
        super().__init__(resident, settings, texts)
        self._blocks = list(find_blocks(resident.model)[1])

    @property
    def genes(self) -> Genes:
        """What stays, in the order of the blocks; genes of protected blocks have one level."""
        return self._genes

    def _protected(self, keep: Sequence[int]) -> set[int]:
        """The blocks ``keep``, counted from 0. Raises :class:`evoprune.InputError` if there is no such block."""
        count = len(self._blocks)
        for block in keep:
            if not -count <= block < count:
                raise InputError(
                    f"there is no block {block}; expected numbers from {-count} to {count - 1}",
                    "problem.transforms.keep",
                )
        return {block % count for block in keep}
