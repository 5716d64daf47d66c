"""Runs a model's body from its start, or from stored hidden states before any of its blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from problems.pruning.model.blocks import find_blocks


class Forward:
    """The body of a causal language model: tokens to the hidden states that its head reads.

    A run from block ``start`` on goes through the model's own forward, so masks, positions
    and the final norm are the model's affair: the blocks before ``start`` hand their input
    through, and the last of them answers with the stored states.
    """

    def __init__(self, model: nn.Module) -> None:
        self._body: Any = model.base_model
        self._blocks = list(find_blocks(model)[1])
        self.resumable = self._resumes_exactly()

    @property
    def depth(self) -> int:
        """How many blocks there are."""
        return len(self._blocks)

    @torch.inference_mode()
    def __call__(
        self, tokens: torch.Tensor, start: int = 0, state: torch.Tensor | None = None, keep: Collection[int] = ()
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The last hidden states of ``tokens`` ``(windows, window)``, and the states before blocks ``keep``.

        ``state`` ``(windows, window, width)``: the states before block ``start``, if that is
        above 0. Only blocks from ``start`` on can be kept.
        """
        kept: dict[int, torch.Tensor] = {}
        with ExitStack() as stack:
            if start:
                stack.enter_context(_answering(self._blocks[:start], state))
            for index in keep:
                stack.enter_context(_noting_input(self._blocks[index], index, kept))
            hidden: torch.Tensor = self._body(input_ids=tokens, use_cache=False)[0]
        return hidden, kept

    def _resumes_exactly(self) -> bool:
        """Whether this architecture gives the very same states when it is run from its middle.

        One whose blocks return more than a tensor, or hand something past each other, does
        not; it is then always run whole.
        """
        middle = len(self._blocks) // 2
        tokens = torch.arange(6, device=self._body.device)[None] % self._body.get_input_embeddings().num_embeddings
        if not middle:
            return False
        try:
            whole, kept = self(tokens, keep=[middle])
            resumed, _ = self(tokens, middle, kept[middle])
        except (TypeError, AttributeError, KeyError, RuntimeError):
            return False
        return torch.equal(whole, resumed)


@contextmanager
def _answering(blocks: list[nn.Module], state: torch.Tensor | None) -> Iterator[None]:
    """Let all but the last of ``blocks`` return their input, and the last one ``state``."""

    def same(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states

    def stored(*_: Any, **__: Any) -> torch.Tensor | None:
        return state

    try:
        for block in blocks:
            block.forward = same  # on the instance: it hides the class's forward
        blocks[-1].forward = stored
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


@contextmanager
def _noting_input(block: nn.Module, index: int, notes: dict[int, torch.Tensor]) -> Iterator[None]:
    """Put the hidden states that ``block`` is given into ``notes[index]``."""

    def note(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        notes[index] = arguments[0] if arguments else named["hidden_states"]

    handle = block.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
