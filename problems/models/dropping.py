"""Drops the attention or the MLP of a block: the block then passes on what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from problems.models.blocks import find_blocks, probe

if TYPE_CHECKING:
    from problems.models.anatomy import Sublayer


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


@torch.no_grad()
def first_that_adds_otherwise(model: Any, sublayers: Sequence[Sublayer]) -> int | None:
    """The first block that, without its ``sublayers``, changes what it reads; None if there is none.

    Some MLPs, as MPT's, read the hidden states besides and add them themselves.
    """
    blocks, changed = find_blocks(model)[1], set()

    def note(number: int, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        read = given[0] if given else named["hidden_states"]
        written = output[0] if isinstance(output, tuple) else output
        if not torch.equal(read.nan_to_num(), written.nan_to_num()):  # weights that were not read yet may be anything
            changed.add(number)

    with ExitStack() as stack:
        for sublayer in sublayers:
            put(blocks[sublayer.block], sublayer, dropped=True)
            stack.callback(put, blocks[sublayer.block], sublayer, dropped=False)
        for number, block in enumerate(blocks):
            stack.callback(block.register_forward_hook(partial(note, number), with_kwargs=True).remove)
        model(input_ids=probe(model), use_cache=False)
    return min(changed, default=None)
