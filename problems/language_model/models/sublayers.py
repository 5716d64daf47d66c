"""Finds and drops the attention and the MLP of each block.

A block is ``x + attention(norm(x))`` and then, or in parallel, ``x + mlp(norm(x))``. A short run shows to which part a
norm or another module belongs, so that no architecture has to be named.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import find_blocks, has_matrices, probe_tokens, prunable, stacks_in

Kind = Literal["attention", "mlp"]
KINDS: tuple[Kind, Kind] = ("attention", "mlp")


@dataclass(frozen=True)
class Sublayer:
    """One attention or MLP of a block, with its own norms."""

    block: int
    kind: Kind
    children: dict[str, nn.Module]  # direct children of the block, by name, in the order in which they run
    output: str  # the child whose result is added to the hidden states
    returns_tuple: bool  # the output child returns a tuple that begins with the result
    layers: tuple[nn.Module, ...]  # layers with matrices, in the order in which they run

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for child in self.children.values() for parameter in child.parameters())

    @property
    def weights(self) -> int:
        layers: list[Any] = [layer for child in self.children.values() for _, layer in prunable(child)]
        stacks = [stack for child in self.children.values() for stack in stacks_in(child)]
        return sum(weight.numel() for weight in (*(layer.weight for layer in layers), *stacks))


@dataclass
class _Call:
    """A call of a child of a block; ``read`` and ``written``: addresses of input and output."""

    name: str
    module: nn.Module
    read: int
    written: int
    returns_tuple: bool


@torch.no_grad()
def find_sublayers(model: Any) -> list[Sublayer]:
    """Return the attention and the MLP of each block of ``model``; refuse blocks with other parts."""
    blocks = find_blocks(model)[1]
    alive: list[Any] = []  # so that no two tensors share an address
    calls: list[list[_Call]] = [[] for _ in blocks]
    ran: list[dict[nn.Module, None]] = [{} for _ in blocks]  # in the order of the first call
    with ExitStack() as stack:
        for block, of_block, layers in zip(blocks, calls, ran, strict=True):
            for _, layer in prunable(block):
                note_layer = partial(lambda layers, layer, *_: layers.setdefault(layer), layers)
                stack.callback(layer.register_forward_hook(note_layer).remove)
            for name, child in block.named_children():
                hook = partial(_note_call, name, of_block, alive)
                stack.callback(child.register_forward_hook(hook, with_kwargs=True).remove)
        model(input_ids=probe_tokens(model), use_cache=False)
    name = type(model).__name__
    of_blocks = enumerate(zip(calls, ran, strict=True))
    sublayers = [sublayer for at, (called, ran_at) in of_blocks for sublayer in _sublayers(name, at, called, [*ran_at])]
    if (number := _first_not_residual(model, sublayers)) is not None:
        why = f"block {number} changes its input without attention and MLP; expected blocks that add both to it"
        raise InputError(f"the blocks of {name} cannot be taken apart: {why}", "problem.model")
    return sublayers


def set_dropped(block: nn.Module, sublayer: Sublayer, dropped: bool) -> None:
    """Replace the children of ``block`` in ``sublayer`` by modules that take no time, or restore them."""
    for name, child in sublayer.children.items():
        if not dropped:
            block._modules[name] = child
        else:
            block._modules[name] = _Zeros(sublayer.returns_tuple) if name == sublayer.output else _Identity()


class _Zeros(nn.Module):
    """Replaces the output of a dropped sublayer by zeros of the same shape: some blocks add to it in place."""

    def __init__(self, returns_tuple: bool) -> None:
        super().__init__()
        self._returns_tuple = returns_tuple

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        zeros = torch.zeros_like(hidden_states)
        return (zeros, None) if self._returns_tuple else zeros


class _Identity(nn.Module):
    """Replaces a norm or an activation of a dropped sublayer by the identity."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


def _note_call(
    name: str, calls: list[_Call], alive: list[Any], module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any
) -> None:
    read, written = _read_and_written(args, kwargs, output)
    if isinstance(read, torch.Tensor) and isinstance(written, torch.Tensor):
        alive.extend((read, written))
        calls.append(_Call(name, module, read.data_ptr(), written.data_ptr(), isinstance(output, tuple)))


def _read_and_written(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> tuple[Any, Any]:
    return args[0] if args else kwargs.get("hidden_states"), output[0] if isinstance(output, tuple) else output


def _sublayers(model: str, block: int, calls: list[_Call], layers: list[nn.Module]) -> list[Sublayer]:
    """Return the sublayers of the chains of ``calls``, in which each call reads the output of the one before.

    An output that several calls read, as of the common norm of parallel sublayers, belongs to no chain.
    """
    readers = Counter(call.read for call in calls if call.written != call.read)  # dropout passes on what it reads
    chains: list[list[_Call]] = []
    for call in calls:
        if readers[call.written] > 1:
            continue
        if before := next((chain for chain in chains if chain[-1].written == call.read), None):
            before.append(call)
        else:
            chains.append([call])
    by_kind = {kind: [chain for chain in chains if _kind(chain) == kind] for kind in KINDS}
    for kind, candidates in by_kind.items():
        if len(candidates) != 1:
            why = f"block {block} has {len(candidates)} parts like its {kind}; expected one attention and one MLP"
            raise InputError(f"the blocks of {model} cannot be taken apart: {why}", "problem.model")
    return [_sublayer(block, kind, by_kind[kind][0], layers) for kind in KINDS]


def _sublayer(block: int, kind: Kind, chain: list[_Call], layers: list[nn.Module]) -> Sublayer:
    output = [call for call in chain if has_matrices(call.module)][-1]  # a norm or dropout may follow it
    children = {call.name: call.module for call in chain}
    inside = {module for child in children.values() for module in child.modules()}
    inner = tuple(layer for layer in layers if layer in inside)
    return Sublayer(block, kind, children, output.name, output.returns_tuple, inner)


def _kind(chain: list[_Call]) -> Kind | None:
    """Return ``attention`` for a chain with a module of such a name, ``mlp`` for any other chain with matrices."""
    if not any(has_matrices(call.module) for call in chain):
        return None
    named = {call.name.lower() for call in chain} & {"attn", "self_attn"}
    attends = named or any("attention" in type(call.module).__name__.lower() for call in chain)
    return "attention" if attends else "mlp"


@torch.no_grad()
def _first_not_residual(model: Any, sublayers: Sequence[Sublayer]) -> int | None:
    """Return the first block that changes its input without ``sublayers``, as MPT, whose MLPs add the input."""
    blocks, changed = find_blocks(model)[1], set()

    def note(number: int, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        read, written = _read_and_written(args, kwargs, output)
        if not torch.equal(read.nan_to_num(), written.nan_to_num()):  # uninitialised weights may be anything
            changed.add(number)

    with ExitStack() as stack:
        for sublayer in sublayers:
            set_dropped(blocks[sublayer.block], sublayer, dropped=True)
            stack.callback(set_dropped, blocks[sublayer.block], sublayer, dropped=False)
        for number, block in enumerate(blocks):
            stack.callback(block.register_forward_hook(partial(note, number), with_kwargs=True).remove)
        model(input_ids=probe_tokens(model), use_cache=False)
    return min(changed, default=None)
