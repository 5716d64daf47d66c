"""Runs a model from its start or from stored hidden states, whole or block by block.

A token that is read but not scored is stored as its complement, ``~token``, so that a tensor of windows needs no mask.
The first token of a window is never predicted.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.models.blocks import find_blocks, find_matrices, probe_tokens
from evoprune.problems.language_model.models.lazy_weights import Weights, execution_device, is_offloaded, materialised

_FAULTS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)  # of models that cannot be run in parts

_probed: WeakKeyDictionary[nn.Module, tuple[bool, bool]] = WeakKeyDictionary()
"""The results of :meth:`Forward._probe`: a probe of a large model reads all of its file."""

_LOGITS_AT_ONCE = 2**24  # 64 MiB in float32
_COPIES = 2  # of the logits in a loss

Array = TypeVar("Array", bound=Any)

Kept = dict[int, torch.Tensor]
"""Hidden states ``(windows, window, width)`` before blocks, by the block's number."""

Targets = Callable[[torch.Tensor, slice], torch.Tensor]

Run = Callable[[torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, Kept]]
"""Maps tokens, and the states before the first block that runs, to the results of :meth:`Forward.__call__`."""


def ids(tokens: Array) -> Array:
    """Return the ids of ``tokens``, a tensor or an array of int64: complements are undone."""
    return tokens ^ (tokens >> 63)  # type: ignore[no-any-return]


def predictions(tokens: torch.Tensor) -> int:
    """Return the number of scored predictions of ``tokens`` ``(windows, window)``."""
    return int((tokens[:, 1:] >= 0).sum())


def scored(rows: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows that predict scored tokens, ``(predictions, width)``, and the tokens.

    ``rows``: ``(windows, window, width)``, one for each of ``tokens`` ``(windows, window)``.
    """
    rows, targets = rows[:, :-1], tokens[:, 1:]
    counted = targets >= 0
    if counted.all():
        return rows.flatten(0, 1), targets.flatten()
    return rows[counted], targets[counted]


def pieces(count: int, width: int) -> list[slice]:
    """Split ``count`` rows into pieces whose logits, ``width`` per row, fit a limit of memory."""
    step = max(1, _LOGITS_AT_ONCE // width)
    return [slice(start, min(count, start + step)) for start in range(0, count, step)]


class Forward:
    """A causal language model without its head, and its head for some rows at a time.

    A run from block ``start`` on uses the model's own forward, which handles masks, positions and the final norm: the
    blocks before ``start`` return their input, and the last one before it returns the stored states.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._blocks = list(find_blocks(model)[1])
        self._matrices = find_matrices(model)
        self.depth = len(self._blocks)
        self.width = int(model.config.get_text_config().hidden_size)
        self.bytes_per_state = self.width * int(model.dtype.itemsize)
        """Bytes of the hidden state of one token."""
        if model not in _probed:
            _probed[model] = self._probe()
        self._plain_head, self.resumable = _probed[model]

    @property
    def bytes(self) -> int:
        """Bytes of weights on the device: two blocks and the head if weights are offloaded, else all."""
        if not is_offloaded(self.model):
            return _bytes_of(self.model)
        return 2 * max(map(_bytes_of, self._blocks)) + _bytes_of(self.model.get_output_embeddings())

    @property
    def bytes_per_token(self) -> int:
        """Approximate bytes per token in a forward pass: the widest activations, and the logits of a whole batch."""
        widest = 16 * max(max(matrix.weight.shape) for matrix in self._matrices)
        logits = 0 if self._plain_head else 4 * self.vocabulary
        return int((widest + logits) * self.model.dtype.itemsize)

    def working_bytes(self, tokens: int, threads: int) -> int:
        """Return the approximate bytes of passes over ``tokens`` in each of ``threads``, and of a lazy head."""
        logits = 4 * _COPIES * min(tokens * self.vocabulary, _LOGITS_AT_ONCE)
        return threads * (tokens * self.bytes_per_token // 2 + logits) + _bytes_of(self.model.get_output_embeddings())

    @property
    def activations(self) -> int:
        """Approximate bytes per token, in float32, of inputs and outputs that a pass with gradients stores."""
        return 4 * sum(sum(matrix.weight.shape[-2:]) for matrix in self._matrices)

    @property
    def device(self) -> torch.device:
        """The device of layers and states; weights may be offloaded from it."""
        return execution_device(self.model)

    def __call__(
        self, tokens: torch.Tensor, start: int = 0, state: torch.Tensor | None = None, keep: Collection[int] = ()
    ) -> tuple[torch.Tensor, Kept]:
        """Return the head's input for ``tokens`` ``(windows, window)``, and the states before the blocks ``keep``.

        ``state`` ``(windows, window, width)``: the states before block ``start``, if it is above 0; ``keep`` names only
        later blocks. The first result is ``(windows, window, width)``, or logits if the model does more than apply its
        head.
        """
        with self.resumed(start, keep) as run:
            return run(tokens, state)

    @contextmanager
    def resumed(self, start: int, keep: Collection[int]) -> Iterator[Run]:
        """Yield a function, for any number of threads, that runs from block ``start`` on; see :meth:`__call__`."""
        local = threading.local()

        @torch.inference_mode()
        def run(tokens: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, Kept]:
            local.state, local.kept = state, {}
            return self.rows(tokens), local.kept

        with ExitStack() as stack:
            if start:
                stack.enter_context(_replaced(self._blocks[:start], local))
            for index in keep:
                hook = partial(_keep_input, local, index)
                stack.callback(self._blocks[index].register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield run

    def rows(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the first result of :meth:`__call__`, with gradients if they are enabled."""
        body = self.model.base_model if self._plain_head else self.model
        return body(input_ids=ids(tokens), use_cache=False)[0]  # type: ignore[no-any-return]

    @property
    def head(self) -> nn.Module | None:
        """The layer that turns rows into logits; None if rows are logits already."""
        return self.model.get_output_embeddings() if self._plain_head else None

    @contextmanager
    def through(
        self, block: int, weights: Weights | None = None
    ) -> Iterator[Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]]:
        """Yield a function, for any number of threads, from the states before ``block`` to the states after it.

        It takes tokens, and None as the states before block 0. ``weights``: for
        :func:`evoprune.problems.language_model.models.lazy_weights.materialised`.
        """
        local = threading.local()

        @torch.inference_mode()
        def run(tokens: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
            local.state = state
            try:
                self.model.base_model(input_ids=ids(tokens), use_cache=False)
            except _Stopped as stopped:
                return stopped.args[0]  # type: ignore[no-any-return]
            raise AssertionError("a model that runs none of its blocks")

        with ExitStack() as stack:
            stack.enter_context(materialised(self.modules(block), weights))
            if block and self.resumable:
                stack.enter_context(_replaced(self._blocks[:block], local))
            stack.callback(self._blocks[block].register_forward_hook(_stop).remove)
            yield run

    def modules(self, block: int) -> Sequence[nn.Module]:
        """Return the modules of ``block``, or the head if ``block`` is :attr:`depth`."""
        head = self.model.get_output_embeddings()
        return [*self._blocks[block].modules()] if block < self.depth else [head] if head is not None else []

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(rows, vocabulary)`` of some ``rows`` of a run: float32, rounded to the model's dtype."""
        return (rows if self.head is None else self.head(rows)).float()

    def slope(self, rows: torch.Tensor, choose: Targets, over: float = 1, copies: int = 1) -> torch.Tensor:
        """Return the gradient in ``rows`` of the sum of losses divided by ``over``.

        ``choose`` returns the targets for logits of some rows, and the slice of the rows; ``copies``: number of
        copies of the logits that it needs in memory.
        """
        slope = torch.empty_like(rows)
        for part in pieces(len(rows), copies * self.vocabulary):
            inputs = rows[part].requires_grad_()
            logits = self.logits(inputs)
            loss = cross_entropy(logits, choose(logits.detach(), part), reduction="sum") / over
            (slope[part],) = torch.autograd.grad(loss, inputs)
        return slope

    @property
    def vocabulary(self) -> int:
        head = self.model.get_output_embeddings()
        return int(head.weight.shape[0] if head is not None else self.model.config.get_text_config().vocab_size)

    @torch.inference_mode()
    def _probe(self) -> tuple[bool, bool]:
        """Return whether logits are the head of the base's output, and whether runs from the middle give the same bits.

        Some architectures scale or cap their logits; the blocks of some exchange more than one tensor, so that they
        always run as a whole. Usually takes a pass and a half.
        """
        head, middle, tokens = self.model.get_output_embeddings(), self.depth // 2, probe_tokens(self.model)
        has_base, inputs = head is not None and self.model.base_model is not self.model, []

        def is_plain(rows: torch.Tensor) -> bool:
            ours = head(rows)
            return logits.shape == ours.shape and torch.allclose(logits, ours, rtol=1e-3, atol=1e-3)

        self._plain_head = False
        try:
            with ExitStack() as stack:
                if has_base:
                    stack.callback(head.register_forward_pre_hook(lambda _, args: inputs.append(args[0])).remove)
                logits, kept = self(tokens, keep=[middle])
            for plain in (True, False) if has_base and middle else (False,) if middle else ():
                self._plain_head = plain
                rows, _ = self(tokens, middle, kept[middle])
                if torch.equal(rows, inputs[0] if plain else logits) and (not plain or is_plain(rows)):
                    return plain, True
        except _FAULTS:
            pass
        self._plain_head = False
        logits, _ = self(tokens)
        self._plain_head = has_base
        return has_base and is_plain(self(tokens)[0]), False


def _bytes_of(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.nbytes for parameter in module.parameters())


class _Stopped(Exception):
    """Ends a run after a block, with its output."""


def _stop(_: nn.Module, __: Any, output: Any) -> None:
    raise _Stopped(output if isinstance(output, torch.Tensor) else output[0])


def _keep_input(local: threading.local, number: int, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    local.kept[number] = args[0] if args else kwargs["hidden_states"]


@contextmanager
def _replaced(blocks: list[nn.Module], local: threading.local) -> Iterator[None]:
    """Replace the forward of ``blocks``: the last one returns ``local.state``, the others their input."""

    def same(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states

    try:
        for block in blocks:
            block.forward = same  # on the instance: it hides the class's forward
        blocks[-1].forward = lambda *_, **__: local.state
        yield
    finally:
        for block in blocks:
            del block.forward


class Walk:
    """The hidden states of ``tokens`` ``(windows, window)`` on their way through a model, at first before block 0."""

    def __init__(self, forward: Forward, tokens: torch.Tensor, batch_tokens: int) -> None:
        self.tokens = tokens
        self._forward = forward
        self._batches = tokens.split(max(1, batch_tokens // tokens.shape[1]))
        self._states: list[torch.Tensor | None] = [None] * len(self._batches)
        self._block = 0

    def run(self, block: int) -> list[torch.Tensor]:
        """Move to ``block``, run it, and return the states after it, a tensor for each batch."""
        for skipped in range(self._block, block):
            self.advance(skipped)
        device = self._forward.device
        with self._forward.through(block) as run:
            return [run(batch.to(device), state) for batch, state in zip(self._batches, self._states, strict=True)]

    def advance(self, block: int) -> None:
        """Move to the states after ``block``."""
        self._states = list(self.run(block))
        self._block = block + 1
