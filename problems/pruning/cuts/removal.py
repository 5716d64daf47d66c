"""What cuts share that take parts of a model out: their genes, protected blocks, and how a sublayer is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from evoprune import Genes, InputError
from problems.language_model.model.anatomy import Sublayer
from problems.language_model.model.blocks import find_blocks
from problems.language_model.resident import Resident
from problems.language_model.text.roles import Texts
from problems.language_model.transform import Transform


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


def put(block: nn.Module, sublayer: Sublayer, dropped: bool) -> None:
    """Set the children of ``block`` that make up ``sublayer`` to themselves, or to modules that take no time."""
    for name, child in sublayer.children.items():
        if not dropped:
            block._modules[name] = child
        elif name == sublayer.output:
            block._modules[name] = _Nothing(sublayer.returns_tuple)
        else:
            block._modules[name] = _PassedOn()


class _Nothing(nn.Module):
    """Replaces a sublayer's output by zeros. They have its shape, because some blocks add to it in place."""

    def __init__(self, returns_tuple: bool) -> None:
        super().__init__()
        self._returns_tuple = returns_tuple

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Zeros in the form of the sublayer's output."""
        zero = torch.zeros_like(hidden_states)
        return (zero, None) if self._returns_tuple else zero


class _PassedOn(nn.Module):
    """Replaces a norm or an activation of a dropped sublayer."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """``hidden_states``, unchanged."""
        return hidden_states
