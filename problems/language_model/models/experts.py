"""Removing routed experts of a block.

Short runs show how many experts a token chooses, and that the router chooses as before among the remaining ones, so
that no architecture has to be named.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import ExpertStack, Mixture, find_mixtures, probe_tokens
from evoprune.problems.language_model.models.lazy_weights import make_lazy

COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""Names of the number of experts in configs and modules of transformers."""

_GROUPS = ("num_group", "n_group")  # names of the number of groups that a router chooses among first
_NAMED = 3  # blocks in a remark
_TOLERANCE = 0.02  # relative, of a token's weights: above the rounding of bfloat16


class Routing(NamedTuple):
    """The inputs of experts, ``(tokens, width)``, and each token's experts and their weights, both ``(tokens, k)``."""

    states: torch.Tensor
    chosen: torch.Tensor
    weights: torch.Tensor


class RoutedExperts:
    """The routed experts of one block, at first all.

    ``states``: inputs of the mixture, ``(1, tokens, width)``. ``lazy``: the remaining experts are lazy weights.
    """

    def __init__(self, mixture: Mixture, states: torch.Tensor, lazy: bool = False) -> None:
        self.name, self.block, self.count = mixture.name, mixture.block, mixture.count
        self._parent, self._experts = mixture.parent, mixture.experts
        self.stacks = mixture.stacks
        routing = dict.fromkeys(mixture.router.modules())
        modules: list[Any] = [mixture.experts, *routing, mixture.parent]
        self._whole: list[tuple[Any, str, torch.Tensor]] = [
            (module, name, tensor)
            for module in modules
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            if tensor.dim() and len(tensor) == self.count
        ]
        self._lazy = {stack.attribute for stack in mixture.stacks} if lazy else set()
        self._counts = [(one, name) for one in modules for name in COUNTS if vars(one).get(name) == self.count]
        self.weights = mixture.size // self.count
        """Weights of one expert."""
        self.parameters = sum(whole[0].numel() for _, _, whole in self._whole if isinstance(whole, nn.Parameter))
        """Parameters of one expert, including its row of the router."""
        if any((vars(module).get(name) or 1) > 1 for module in modules for name in _GROUPS):
            raise self._refusal("its router chooses among groups, whose sizes would become uneven")
        try:
            self.active = self.routing(states).chosen.shape[1]
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._refusal(f"its router cannot be run alone ({error})") from None
        """Number of experts per token."""

    def _refusal(self, reason: str) -> InputError:
        return InputError(
            f"the experts of block {self.block}, {self.name}, cannot be left out: {reason}", "problem.model"
        )

    def narrow(self, kept: torch.Tensor, router_alone: bool = False) -> None:
        """Remove all experts except ``kept`` (int64, in order), with their rows of the router; or only the rows."""
        whole, skipped = len(kept) == self.count, self._experts if router_alone else None
        for module, name, tensor in self._whole:
            if module is skipped:
                continue
            select = partial(tensor.detach().index_select, 0, kept.to(tensor.device))
            lazy = module is self._experts and name in self._lazy
            if lazy:
                make_lazy(module, None if whole else lambda _, select=select: select(), name)  # type: ignore[misc]
            remaining = tensor if whole else tensor.detach()[: len(kept)] if lazy else select()
            is_plain = whole or not isinstance(tensor, nn.Parameter)
            setattr(module, name, remaining if is_plain else nn.Parameter(remaining, requires_grad=False))
        for module, name in self._counts:
            if module is not skipped:
                setattr(module, name, len(kept))

    @contextmanager
    def only(self, kept: torch.Tensor) -> Iterator[None]:
        """Let the router choose only among the experts ``kept``, which keep their numbers."""

        def changed(value: Any) -> Any:
            return value if value.is_floating_point() else kept.to(value.device)[value]

        def renumber(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(map(changed, args)), {name: changed(value) for name, value in kwargs.items()}

        hook = self._experts.register_forward_pre_hook(renumber, with_kwargs=True)
        try:
            self.narrow(kept, router_alone=True)
            yield
        finally:
            self.narrow(torch.arange(self.count), router_alone=True)
            hook.remove()

    def output(self, states: torch.Tensor) -> torch.Tensor:
        """Return the output of the mixture as it is now."""
        output = self._parent(states)
        return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]

    def routing(self, states: torch.Tensor) -> Routing:
        """Return the experts, as they are now, that each token chooses."""
        tensors: list[torch.Tensor] = []

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            tensors.extend(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))

        with ExitStack() as stack:
            stack.callback(self._experts.register_forward_pre_hook(note, with_kwargs=True).remove)
            self.output(states)
        if len(tensors) != 3 or tensors[1].is_floating_point() or tensors[1].shape != tensors[2].shape:
            raise ValueError("expected states, chosen experts and their weights")
        return Routing(*tensors)

    def check(self, states: torch.Tensor) -> None:
        """Raise :class:`evoprune.InputError` unless tokens choose the same experts when others are removed."""
        if self.active < self.count and not any(map(self._chooses_alike, states.split(1, 1))):
            raise self._refusal("its router does not choose the same with fewer of them")

    def _chooses_alike(self, token: torch.Tensor) -> bool:
        before = self.routing(token)
        others = [number for number in range(self.count) if number not in before.chosen]
        kept = torch.cat([before.chosen[0].cpu(), torch.tensor(others[:1])]).sort().values
        with self.only(kept):
            after = self.routing(token)
        first, second = before.chosen[0].sort(), after.chosen[0].sort()
        if not torch.equal(first.values, second.values):
            return False
        ratio = after.weights[0][second.indices].float() / before.weights[0][first.indices].float()
        return bool((ratio / ratio.mean() - 1).abs().max() <= _TOLERANCE)


@torch.no_grad()
def find_experts(model: Any, check: bool = True, lazy: bool = False) -> list[RoutedExperts]:
    """Return the routed experts of ``model``, block by block; refuse experts that cannot be removed.

    ``check``: try the routers with fewer experts. ``lazy``: see :class:`RoutedExperts`.
    """
    mixtures, states = find_mixtures(model), dict[int, torch.Tensor]()
    if not mixtures:
        raise InputError(f"{type(model).__name__} has no experts: expected a mixture of experts", "problem.model")
    with recorded_inputs(mixtures, states.__setitem__):
        model(input_ids=probe_tokens(model), use_cache=False)
    experts = [RoutedExperts(mixture, states[mixture.block], lazy) for mixture in mixtures]
    for of_block in experts if check else ():
        of_block.check(states[of_block.block])
    return experts


@contextmanager
def recorded_inputs(mixtures: Iterable[Mixture], note: Callable[[int, torch.Tensor], object]) -> Iterator[None]:
    """Call ``note`` with the block and the inputs of each of ``mixtures`` when it runs."""

    def hook(block: int, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        note(block, args[0] if args else kwargs["hidden_states"])

    with ExitStack() as stack:
        for mixture in mixtures:
            own_hook = partial(hook, mixture.block)
            stack.callback(mixture.parent.register_forward_pre_hook(own_hook, with_kwargs=True).remove)
        yield


Note = Callable[[ExpertStack, int, torch.Tensor, torch.Tensor], object]
"""Called with a stack, the number of an expert, the inputs ``(tokens, in)`` and the outputs ``(tokens, out)``."""


@contextmanager
def recorded_products(stacks: Sequence[ExpertStack], note: Note) -> Iterator[None]:
    """Call ``note`` for each product with the matrix of one expert of ``stacks``, in this thread.

    Meanwhile experts run one after the other, by the code of the architecture.
    """
    with ExitStack() as stack:
        for config in (getattr(one.module, "config", None) for one in stacks):
            if config is not None:
                stack.callback(setattr, config, "_experts_implementation", config._experts_implementation)
                config._experts_implementation = "eager"
        stack.enter_context(_Products(stacks, note) if stacks else nullcontext())
        yield


class _Products(TorchFunctionMode):
    """Recognises the matrices of experts by their addresses."""

    def __init__(self, stacks: Sequence[ExpertStack], note: Note) -> None:
        super().__init__()
        self._stacks, self._note = [(stack, stack.weight) for stack in stacks], note

    def __torch_function__(self, call: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = call(*args, **(kwargs or {}))
        if len(args) > 1 and isinstance(args[1], torch.Tensor) and args[1].dim() == 2:
            for stack, weight in self._stacks:
                expert, rest = divmod(args[1].data_ptr() - weight.data_ptr(), weight[0].nbytes)
                if args[1].dtype == weight.dtype and not rest and 0 <= expert < len(weight):
                    self._note(stack, expert, args[0], output)
        return output


def unchosen_remarks(counts: Mapping[int, int]) -> list[str]:
    """Return a remark on experts that no token of the calibration text chose; ``counts``: of such experts, by block."""
    unchosen = [f"{count} of block {block}" for block, count in counts.items() if count]
    more = f" and of {len(unchosen) - _NAMED} more blocks" if len(unchosen) > _NAMED else ""
    named = ", ".join(unchosen[:_NAMED]) + more
    remark = f"no token of the calibration text chose some experts ({named}): give more text, of each kind"
    return [remark] if unchosen else []
