"""Takes a model's blocks apart: which modules make up the attention of a block, and which its MLP.

A block is ``x + attention(norm(x))`` and then, or beside it, ``x + mlp(norm(x))``. Which norms and other modules belong
to which of the two is read from the flow of tensors in one short run, so that no architecture has to be named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from evoprune import InputError
from problems.models.blocks import find_blocks, in_features, probe_tokens, prunable

Kind = Literal["attention", "mlp"]
KINDS: tuple[Kind, Kind] = ("attention", "mlp")


@dataclass(frozen=True)
class Sublayer:
    """One attention or MLP of a block, with the norms that are its own.

    ``children``: the block's direct children that make it up, in the order they run, by name. ``output``: the one whose
    result is added to the hidden states; ``returns_tuple``: whether it returns a tuple that begins with that result.
    ``layers``: its layers with matrices, in the order they run; the last one gives the sublayer's output.
    """

    block: int
    kind: Kind
    children: dict[str, nn.Module]
    output: str
    returns_tuple: bool
    layers: tuple[nn.Module, ...]

    @property
    def parameters(self) -> int:
        """How many parameters it holds."""
        return sum(parameter.numel() for child in self.children.values() for parameter in child.parameters())

    @property
    def weights(self) -> int:
        """How many weights its matrices hold."""
        held: list[Any] = [layer for child in self.children.values() for _, layer in prunable(child)]
        return sum(layer.weight.numel() for layer in held)

    @property
    def attention_width(self) -> int:
        """How wide what its heads give is, which its output matrix reads; 0 for an MLP."""
        return in_features(self.layers[-1]) if self.kind == "attention" else 0


@dataclass
class _Call:
    """One call of a child of a block: where its input and its output lie in memory."""

    name: str
    module: nn.Module
    read: int
    written: int
    returns_tuple: bool


@torch.no_grad()
def find_sublayers(model: Any) -> list[Sublayer]:
    """The attention and the MLP of each block of ``model``, block by block.

    Raises :class:`evoprune.InputError` where a block is not made of these two.
    """
    blocks = find_blocks(model)[1]
    held: list[Any] = []  # tensors that are alive have addresses of their own
    calls: list[list[_Call]] = [[] for _ in blocks]
    ran: list[dict[nn.Module, None]] = [{} for _ in blocks]  # in the order of the first call
    with ExitStack() as stack:
        for block, notes, layers in zip(blocks, calls, ran, strict=True):
            for _, layer in prunable(block):
                stack.callback(layer.register_forward_hook(partial(_noting_layer, layers)).remove)
            for name, child in block.named_children():
                hook = _noting(name, notes, held)
                stack.callback(child.register_forward_hook(hook, with_kwargs=True).remove)
        model(input_ids=probe_tokens(model), use_cache=False)
    name = type(model).__name__
    found = [each for at, notes in enumerate(calls) for each in _sublayers(name, at, notes, list(ran[at]))]
    if (number := first_that_adds_otherwise(model, found)) is not None:
        raise InputError(
            f"the blocks of {name} cannot be taken apart: block {number} changes what it reads also without its "
            "attention and its MLP; expected blocks that add both to it, as in GPT-2 or Llama",
            "problem.model",
        )
    return found


def _noting_layer(notes: dict[nn.Module, None], layer: nn.Module, *_: Any) -> None:
    notes[layer] = None


def _noting(name: str, notes: list[_Call], held: list[Any]) -> Any:
    def note(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        read = given[0] if given else named.get("hidden_states")
        written = output[0] if isinstance(output, tuple) else output
        if isinstance(read, torch.Tensor) and isinstance(written, torch.Tensor):
            held.extend((read, written))
            notes.append(_Call(name, module, read.data_ptr(), written.data_ptr(), isinstance(output, tuple)))

    return note


def _sublayers(model: str, block: int, calls: list[_Call], layers: list[nn.Module]) -> list[Sublayer]:
    """The chains of ``calls``, each of which reads what the one before it wrote.

    What several calls read, as the one norm of parallel sublayers, belongs to none of them: it stays in the block.
    """
    readers = Counter(call.read for call in calls if call.written != call.read)  # dropout passes on what it reads
    chains: list[list[_Call]] = []
    for call in calls:
        if readers[call.written] > 1:
            continue
        before = next((chain for chain in chains if chain[-1].written == call.read), None)
        if before is None:
            chains.append([call])
        else:
            before.append(call)
    found = {kind: [chain for chain in chains if _kind(chain) == kind] for kind in KINDS}
    for kind, candidates in found.items():
        if len(candidates) != 1:
            raise InputError(
                f"the blocks of {model} cannot be taken apart: block {block} has {len(candidates)} parts that look "
                f"like its {kind}; expected one attention and one MLP, as in GPT-2 or Llama",
                "problem.model",
            )
    return [_sublayer(block, kind, chain, layers) for kind in KINDS for chain in found[kind]]


def _sublayer(block: int, kind: Kind, chain: list[_Call], layers: list[nn.Module]) -> Sublayer:
    output = _output(chain)
    children = {call.name: call.module for call in chain}
    inside = {module for child in children.values() for module in child.modules()}
    own = tuple(layer for layer in layers if layer in inside)
    return Sublayer(block, kind, children, output.name, output.returns_tuple, own)


def _output(chain: list[_Call]) -> _Call:
    """The last call of a module with matrices; what follows it, a norm or dropout, only passes its result on."""
    return [call for call in chain if any(True for _ in prunable(call.module))][-1]


def _kind(chain: list[_Call]) -> Kind | None:
    """``attention`` for a chain with a module that is called so, ``mlp`` for another chain with matrices."""
    if not any(True for call in chain for _ in prunable(call.module)):
        return None
    words = [f"{call.name} {type(call.module).__name__}".lower() for call in chain]
    attends = any("attention" in word.split()[1] or word.split()[0] in {"attn", "self_attn"} for word in words)
    return "attention" if attends else "mlp"


if TYPE_CHECKING:
    pass


def set_dropped(block: nn.Module, sublayer: Sublayer, dropped: bool) -> None:
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
            set_dropped(blocks[sublayer.block], sublayer, dropped=True)
            stack.callback(set_dropped, blocks[sublayer.block], sublayer, dropped=False)
        for number, block in enumerate(blocks):
            stack.callback(block.register_forward_hook(partial(note, number), with_kwargs=True).remove)
        model(input_ids=probe_tokens(model), use_cache=False)
    return min(changed, default=None)
