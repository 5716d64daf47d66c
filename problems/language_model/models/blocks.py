"""Transformer blocks of a model and their prunable matrices, found by structure alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from evoprune import InputError


@dataclass(frozen=True)
class Matrix:
    """A prunable weight matrix."""

    name: str  # of the module, in the model
    block: int
    kind: str  # name of the module within its block, the same in every block
    module: nn.Module

    @property
    def attribute(self) -> str:
        """Name of the weight in :attr:`module`."""
        return "weight"

    @property
    def weight(self) -> torch.Tensor:
        """The parameter: ``(out, in)`` of a ``Linear``, ``(in, out)`` of a ``Conv1D``."""
        return getattr(self.module, self.attribute)  # type: ignore[no-any-return]

    @property
    def parameter(self) -> str:
        """Name of the weight in the model."""
        return f"{self.name}.weight"

    @property
    def transposed(self) -> bool:
        return isinstance(self.module, Conv1D)

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """View ``tensor``, in the weight's layout, as ``(out, in)``."""
        return tensor.T if self.transposed else tensor

    def laid_out(self, rows: torch.Tensor) -> torch.Tensor:
        """View ``rows``, ``(out, in)``, in the weight's layout: the inverse of :meth:`rows`."""
        return self.rows(rows)

    @property
    def outputs(self) -> int:
        """Number of rows; of one expert, if several are stacked."""
        return int(self.weight.shape[-1 if self.transposed else -2])

    @property
    def size(self) -> int:
        return self.weight.numel()

    @property
    def zeros(self) -> int:
        return self.size - int(torch.count_nonzero(self.weight))


@dataclass(frozen=True)
class ExpertStack(Matrix):
    """A matrix of all experts of a block, stacked in one parameter: ``(experts, out, in)``, or transposed.

    The first expert's rows come first, then the second's, and so on. ``name`` and ``kind`` are of the parameter.
    """

    @property
    def attribute(self) -> str:
        return self.kind

    @property
    def parameter(self) -> str:
        return self.name

    @property
    def transposed(self) -> bool:
        return bool(getattr(self.module, "is_transposed", False))

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        return (tensor.transpose(1, 2) if self.transposed else tensor).flatten(0, 1)

    def laid_out(self, rows: torch.Tensor) -> torch.Tensor:
        stacked = rows.unflatten(0, (-1, self.outputs))
        return stacked.transpose(1, 2) if self.transposed else stacked  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Mixture:
    """The routed experts of a block, stacked in the parameters of one module, and their router."""

    name: str  # of the module with the experts, in the model
    block: int
    experts: Any
    router: Any
    parent: Any  # the module of both
    count: int

    @property
    def active(self) -> int | None:
        """Number of experts per token, if the router states it."""
        count = vars(self.router).get("top_k")
        return count if isinstance(count, int) else None

    @property
    def stacks(self) -> list[ExpertStack]:
        """The stacked matrices of the experts."""
        return [ExpertStack(f"{self.name}.{kind}", self.block, kind, self.experts) for kind in _stacks(self.experts)]

    @property
    def size(self) -> int:
        """Number of weights in :attr:`stacks`."""
        return sum(stack.size for stack in self.stacks)


def _stacks(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters of ``module`` itself with more than two dimensions, by name, except convolutions."""
    if isinstance(module, nn.Conv1d):
        return {}
    return {name: stack for name, stack in module.named_parameters(recurse=False) if stack.dim() > 2}


def prunable(block: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the ``Linear`` and ``Conv1D`` layers in ``block`` with their names."""
    for name, module in block.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)):
            yield name, module


def stacks_in(module: nn.Module) -> list[torch.Tensor]:
    """Return the weights of stacked experts anywhere in ``module``."""
    return [stack for inner in module.modules() for stack in _stacks(inner).values()]


def has_matrices(module: nn.Module) -> bool:
    """Tell whether ``module`` contains a prunable layer, or stacked experts."""
    return any(prunable(module)) or bool(stacks_in(module))


def probe_tokens(model: Any) -> torch.Tensor:
    """Return a window ``(1, 6)`` of tokens from the vocabulary of ``model``, to probe it by a short run."""
    vocabulary: int = model.get_input_embeddings().num_embeddings
    return torch.arange(6, device=model.device)[None] % vocabulary


def in_features(layer: Any) -> int:
    """Return the number of inputs of ``layer``, a ``Linear`` or ``Conv1D``."""
    return int(layer.weight.shape[0 if isinstance(layer, Conv1D) else 1])


def max_positions(config: Any) -> int | None:
    """Return the maximum number of tokens that a model of ``config`` reads at once; None for no limit."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the name and the module list of the transformer blocks.

    It is the outermost list of modules of one class with prunable layers; of several, the one with most parameters.
    """
    lists: list[tuple[str, nn.ModuleList]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(outer + ".") for outer, _ in lists)
        similar = isinstance(module, nn.ModuleList) and len({type(block) for block in module}) == 1
        if similar and not inside and has_matrices(module):
            lists.append((name, module))
    if not lists:
        name = type(model).__name__
        raise InputError(f"{name} has no list of blocks with Linear or Conv1D layers: no decoder", "problem.model")
    return max(lists, key=lambda item: sum(p.numel() for p in item[1].parameters()))


def keep_blocks(model: Any, kept: Sequence[int]) -> None:
    """Remove all blocks of ``model`` except the numbers ``kept``, and update its config."""
    name, blocks = find_blocks(model)
    owner, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(owner), attribute, nn.ModuleList(blocks[block] for block in kept))
    config = model.config.get_text_config()
    for key, value in list(vars(config).items()):  # the kind of attention of each block, for example
        if "layer" in key and isinstance(value, list) and len(value) == len(blocks):
            setattr(config, key, [value[block] for block in kept])
    config.num_hidden_layers = len(kept)


def number_attentions(model: Any) -> list[tuple[Any, int]]:
    """Renumber the remaining attentions of each kind without gaps, as caches of keys and values require.

    Returns the modules and their previous numbers.
    """
    before: list[tuple[Any, int]] = []
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    try:
        blocks = find_blocks(model)[1]
    except InputError:  # all layers were dropped
        return before
    kinds = kinds if len(kinds) == len(blocks) else [None] * len(blocks)
    free = {kind: iter([place for place, other in enumerate(kinds) if other == kind]) for kind in set(kinds)}
    for kind, block in zip(kinds, blocks, strict=True):
        numbered: list[Any] = [m for m in block.modules() if m is not block and hasattr(m, "layer_idx")]
        number = next(free[kind]) if numbered else 0
        for module in numbered:
            before.append((module, module.layer_idx))
            module.layer_idx = number
    return before


@contextmanager
def attentions_numbered(model: Any) -> Iterator[None]:
    """Let ``model``, some of whose attentions may be dropped, run with a cache of keys and values."""
    before = number_attentions(model)
    try:
        yield
    finally:
        for module, number in before:
            module.layer_idx = number


def find_matrices(model: nn.Module) -> list[Matrix]:
    """Return every prunable matrix of ``model``, block by block, without stacked experts."""
    name, blocks = find_blocks(model)
    return [
        Matrix(f"{name}.{index}.{kind}", index, kind, module)
        for index, block in enumerate(blocks)
        for kind, module in prunable(block)
    ]


def find_mixtures(model: nn.Module) -> list[Mixture]:
    """Return the mixtures of ``model``, block by block; refuse experts without a router."""
    if not stacks_in(model):  # also where all layers were dropped
        return []
    name, blocks = find_blocks(model)
    return [
        _mixture(model, f"{name}.{index}.{inner}", index, module)
        for index, block in enumerate(blocks)
        for inner, module in block.named_modules()
        if _stacks(module)
    ]


def _mixture(model: nn.Module, name: str, block: int, experts: nn.Module) -> Mixture:
    parent = model.get_submodule(name.rpartition(".")[0])
    inside, counts = set(experts.modules()), {len(stack) for stack in experts.parameters(recurse=False)}
    others = ((module, parameter) for module in parent.modules() for parameter in module.parameters(recurse=False))
    rows = [module for module, one in others if module not in inside and one.dim() == 2 and len(one) in counts]
    routers = [*dict.fromkeys(rows)]
    if len(counts) > 1 or len(routers) != 1 or isinstance(routers[0], (nn.Linear, Conv1D)):
        expected = "expected as many experts in each of its parameters, and one router with a row for each expert"
        raise InputError(f"{type(model).__name__} cannot be taken apart at {name}: {expected}", "problem.model")
    mixture = Mixture(name, block, experts, routers[0], parent, counts.pop())
    if (mixture.active or 0) > mixture.count:
        why = f"{name} has {mixture.count} experts, and a token chooses {mixture.active}: expected at least as many"
        raise InputError(why, "problem.model")
    return mixture
