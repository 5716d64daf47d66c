"""Abilities of several transforms, and facts about their models for protocols and people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoprune.problems.language_model.transforms.form import Form
from evoprune.problems.language_model.transforms.transform import Transform


class StackFacts:
    """Facts about ``transforms`` together; see :class:`.transform.Transform`."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = transforms

    @property
    def sparse(self) -> bool:
        return any(transform.sparse for transform in self._transforms)

    @property
    def lazy(self) -> bool:
        return len(self._transforms) == 1 and self._transforms[0].lazy

    @property
    def updates(self) -> bool:
        return any(transform.updates for transform in self._transforms)

    @property
    def plain(self) -> bool:
        return all(transform.plain for transform in self._transforms)

    @property
    def prunes_vocabulary(self) -> bool:
        """True if genomes may remove tokens."""
        return any(transform.vocabularies for transform in self._transforms)

    @property
    def prunes_blocks(self) -> bool:
        """True if blocks are changed by more than their form."""
        return any(not isinstance(cut, Form) and not cut.vocabularies for cut in self._transforms)

    def measures(self) -> dict[str, Any]:
        return {name: value for transform in self._transforms for name, value in transform.measures().items()}

    def describe(self) -> dict[str, Any]:
        return {name: value for transform in self._transforms for name, value in transform.describe().items()}

    def remarks(self) -> list[str]:
        return [*dict.fromkeys(remark for transform in self._transforms for remark in transform.remarks())]
