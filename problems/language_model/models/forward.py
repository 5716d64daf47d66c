"""Runs a model from its start or from stored hidden states, whole or block by block."""

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from evoprune.problems.language_model.models.blocks import find_blocks, find_matrices, probe_tokens
from evoprune.problems.language_model.models.late import Weights, is_elsewhere, made, runs_on
from evoprune.problems.language_model.models.token_mask import ids

_FAULTS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)  # of models that cannot be run in parts

_probed: WeakKeyDictionary[nn.Module, tuple[bool, bool]] = WeakKeyDictionary()
"""Whether the head of a model is plain, and whether runs from a block are exact."""

_LOGITS_AT_ONCE = 2**24  # 64 MiB in float32
_COPIES = 2  # of them that a loss holds

Kept = dict[int, torch.Tensor]
"""Hidden states ``(windows, window, width)`` before blocks, by number."""

Run = Callable[[torch.Tensor, torch.Tensor | None], tuple[torch.Tensor, Kept]]
"""As :meth:`Forward.__call__`, for tokens and the states before the first block that runs."""


def pieces(count: int, width: int) -> list[slice]:
    """Split ``count`` rows into pieces whose logits, ``width`` in a row, may be held at once."""
    step = max(1, _LOGITS_AT_ONCE // width)
    return [slice(start, min(count, start + step)) for start in range(0, count, step)]


class Forward:
    """A causal language model without its head, and its head for some rows at a time.

    A run from block ``start`` on uses the model's own forward, which handles masks, positions and the final norm: the
    blocks before ``start`` return their input, and the last of them returns the stored states.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model: Any = model
        self._blocks = list(find_blocks(model)[1])
        self._matrices = find_matrices(model)
        if model not in _probed:  # a probe reads a large model from its file
            usual = self._is_usual()
            self._plain_head = usual or self._head_is_plain()
            _probed[model] = self._plain_head, usual or self._resumes_exactly()
        self._plain_head, self.resumable = _probed[model]
        self.compiled = False

    @property
    def depth(self) -> int:
        return len(self._blocks)

    @property
    def model(self) -> Any:
        return self._model

    @property
    def width(self) -> int:
        return int(self._model.config.get_text_config().hidden_size)

    @property
    def bytes_per_state(self) -> int:
        """The bytes of the hidden state of one token before one block."""
        return self.width * int(self._model.dtype.itemsize)

    @property
    def bytes(self) -> int:
        """The bytes of weights on the device: where they are copied to it, those of two blocks and of the head."""
        if not is_elsewhere(self._model):
            return _bytes_of(self._model)
        head = self._model.get_output_embeddings()
        return 2 * max(map(_bytes_of, self._blocks)) + (0 if head is None else _bytes_of(head))

    @property
    def bytes_per_token(self) -> int:
        """The approximate bytes of a token in a forward pass: the widest activations, and logits of a whole batch."""
        widest = 16 * max(max(matrix.weight.shape) for matrix in self._matrices)
        logits = 0 if self._plain_head else 4 * self.vocabulary
        return int((widest + logits) * self._model.dtype.itemsize)

    def working_bytes(self, tokens: int, threads: int) -> int:
        """The approximate bytes of passes over ``tokens`` each, in ``threads``: activations, logits and a made head."""
        logits = 4 * _COPIES * min(tokens * self.vocabulary, _LOGITS_AT_ONCE)
        head = self._model.get_output_embeddings()
        return threads * (tokens * self.bytes_per_token // 2 + logits) + (0 if head is None else _bytes_of(head))

    @property
    def activations(self) -> int:
        """The approximate bytes that a pass with gradients keeps of a token, in float32: inputs and outputs."""
        return 4 * sum(sum(matrix.weight.shape[-2:]) for matrix in self._matrices)

    @property
    def device(self) -> torch.device:
        """The device on which the layers run and the states are; weights may be elsewhere."""
        return runs_on(self._model)

    @property
    def threaded(self) -> bool:
        """Tell whether several threads may run the model at once, and gain by it."""
        return self.device.type == "cpu" and not self.compiled

    def compile(self) -> None:
        """Compile each block at its first run, once for all blocks of the same form."""
        for block in self._blocks:
            block.forward = torch.compile(block.forward)
        self.compiled = True

    def __call__(
        self, tokens: torch.Tensor, start: int = 0, state: torch.Tensor | None = None, keep: Collection[int] = ()
    ) -> tuple[torch.Tensor, Kept]:
        """Return the head's input for ``tokens`` ``(windows, window)``, and the states before the blocks ``keep``.

        ``state`` ``(windows, window, width)``: the states before block ``start``, if that is above 0; only later blocks
        can be kept. The first result has a row of ``width`` for each token, or logits, if the model does more than
        apply its head.
        """
        with self.resumed(start, keep) as run:
            return run(tokens, state)

    @contextmanager
    def resumed(self, start: int, keep: Collection[int]) -> Iterator[Run]:
        """Runs from block ``start`` on, in several threads at once, that keep the states before the blocks ``keep``."""
        own = threading.local()

        @torch.inference_mode()
        def run(tokens: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, Kept]:
            own.state, own.kept = state, {}
            return self.rows(tokens), own.kept

        with ExitStack() as stack:
            if start:
                stack.enter_context(_answering(self._blocks[:start], lambda: own.state))
            for index in keep:
                hook = partial(_keep_input, own, index)
                stack.callback(self._blocks[index].register_forward_pre_hook(hook, with_kwargs=True).remove)
            yield run

    def rows(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the first result of a call for ``tokens``, with gradients where they are enabled."""
        body = self._model.base_model if self._plain_head else self._model
        return body(input_ids=ids(tokens), use_cache=False)[0]  # type: ignore[no-any-return]

    @property
    def head(self) -> nn.Module | None:
        """The layer that turns rows into logits; None where they are logits already."""
        return self._model.get_output_embeddings() if self._plain_head else None

    @contextmanager
    def through(
        self, block: int, weights: Weights | None = None
    ) -> Iterator[Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]]:
        """Runs of ``block``, in several threads at once: the states after it, given those before (None before block 0).

        ``weights``: as of :func:`evoprune.problems.language_model.models.late.made`.
        """
        own = threading.local()

        @torch.inference_mode()
        def run(tokens: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
            own.state = state
            try:
                self._model.base_model(input_ids=ids(tokens), use_cache=False)
            except _Stopped as stopped:
                return stopped.states
            raise AssertionError("a model that runs none of its blocks")

        with ExitStack() as stack:
            self._let_hooks_run(stack)
            stack.enter_context(made(self.modules(block), weights))
            if block and self.resumable:
                stack.enter_context(_answering(self._blocks[:block], lambda: own.state))
            stack.callback(self._blocks[block].register_forward_hook(_stop).remove)
            yield run

    def modules(self, block: int) -> Sequence[nn.Module]:
        """The modules of ``block``, or for the number after the last the head."""
        head = self._model.get_output_embeddings()
        return [*self._blocks[block].modules()] if block < self.depth else [head] if head is not None else []

    def _let_hooks_run(self, stack: ExitStack) -> None:
        """Run blocks uncompiled until ``stack`` ends: compiled ones ignore hooks that are added later."""
        if "forward" in vars(self._blocks[0]):
            stack.enter_context(torch.compiler.set_stance("force_eager"))

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(rows, vocabulary)``, float32, of some rows of a run's result."""
        if self._plain_head:
            rows = self._model.get_output_embeddings()(rows)
        return rows.float()

    def parts(self, count: int) -> list[slice]:
        """Split ``count`` rows of a run's result into parts whose logits may be held at once."""
        return pieces(count, self.vocabulary)

    @property
    def vocabulary(self) -> int:
        head = self._model.get_output_embeddings()
        return int(head.weight.shape[0] if head is not None else self._model.config.get_text_config().vocab_size)

    @torch.inference_mode()
    def _is_usual(self) -> bool:
        """Tell by one pass and a half whether the head is plain and runs are exact; False may only mean one is not."""
        head, middle, given = self._model.get_output_embeddings(), len(self._blocks) // 2, []
        if head is None or self._model.base_model is self._model or not middle:
            return False
        tokens, hook = probe_tokens(self._model), head.register_forward_pre_hook(lambda _, own: given.append(own[0]))
        try:
            self._plain_head = False
            logits, kept = self(tokens, keep=[middle])
            self._plain_head = True
            rows, _ = self(tokens, middle, kept[middle])
        except _FAULTS:
            return False
        finally:
            hook.remove()
        ours = head(rows)
        same = torch.equal(rows, given[0]) and logits.shape == ours.shape
        return same and torch.allclose(logits, ours, rtol=1e-3, atol=1e-3)

    @torch.inference_mode()
    def _head_is_plain(self) -> bool:
        """Tell whether the logits are the head of the base's output; some architectures scale or cap them."""
        head = self._model.get_output_embeddings()
        if head is None or self._model.base_model is self._model:
            return False
        tokens = probe_tokens(self._model)
        whole = self._model(input_ids=tokens, use_cache=False).logits
        ours = head(self._model.base_model(input_ids=tokens, use_cache=False)[0])
        return whole.shape == ours.shape and torch.allclose(whole, ours, rtol=1e-3, atol=1e-3)

    def _resumes_exactly(self) -> bool:
        """Tell whether a run from the middle block gives the same bits; else the model always runs as a whole."""
        middle, tokens = len(self._blocks) // 2, probe_tokens(self._model)
        if not middle:
            return False
        try:
            whole, kept = self(tokens, keep=[middle])
            resumed, _ = self(tokens, middle, kept[middle])
        except _FAULTS:
            return False
        return torch.equal(whole, resumed)


def _bytes_of(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


class _Stopped(Exception):
    """Ends a run after a block with its output ``states``."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states


def _states(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


def _stop(_: nn.Module, __: Any, output: Any) -> None:
    raise _Stopped(_states(output))


def _note_output(notes: Kept, number: int, _: nn.Module, __: Any, output: Any) -> None:
    notes[number] = _states(output)


def _keep_input(own: threading.local, number: int, _: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    own.kept[number] = given[0] if given else named["hidden_states"]


@contextmanager
def _answering(blocks: list[nn.Module], state: Callable[[], torch.Tensor | None]) -> Iterator[None]:
    """Let all but the last of ``blocks`` return their input, and the last one return ``state()``."""

    def same(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states

    hidden = [block.__dict__.get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = same  # on the instance: it hides the class's forward
        blocks[-1].forward = lambda *_, **__: state()
        yield
    finally:
        for block, forward in zip(blocks, hidden, strict=True):
            del block.forward
            if forward is not None:  # a compiled one
                block.forward = forward
