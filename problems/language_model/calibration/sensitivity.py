"""The sensitivity of predictions to small changes of matrices: the diagonal of the Fisher information, factorised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import linear

from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint, Tensors
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.device import has_bfloat16_units
from evoprune.problems.language_model.models.experts import recorded_products
from evoprune.problems.language_model.models.forward import Forward, predictions, scored
from evoprune.problems.language_model.models.lazy_weights import without_offloading
from evoprune.problems.language_model.models.memory import Placement

_WINDOWS, _LENGTH = 8, 256  # at most: windows, and tokens of a window, whose activations a pass keeps
_COPIES = 8  # of the logits, in memory at once

Factors = list[tuple[torch.Tensor, torch.Tensor]]
"""Pairs of factors of outputs ``(out,)`` and of inputs ``(in,)``, float32; see :func:`sensitivity`."""


def sensitivity(model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix]) -> dict[str, Factors]:
    """Return the factors of the sensitivity of each of ``matrices``, by name, on ``tokens`` ``(windows, window)``.

    A change ``d`` of a matrix, of independent entries, causes a divergence of about ``sum_ij outputs_i inputs_j d_ij^2
    / 2`` nats a token, summed over the pairs. This approximates the diagonal of the Fisher information, the squared
    gradients of a window's loss with targets drawn from the model's predictions, by its row and column sums (as in
    Adafactor, Shazeer and Stern, 2018). For embedding and head, the mean of a product of squares is replaced by the
    product of means (Martens and Grosse, ICML 2015); a tied matrix has a pair for each. For stacked experts the factors
    of inputs are ``(experts, in)``. An interrupted computation is resumed.
    """
    forward = Forward(model)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    masked = bool((tokens < 0).any())
    length = tokens.shape[1] if masked else _LENGTH  # the tokens that count may be the last ones
    read = tokens[:: max(1, len(tokens) // _WINDOWS), :length][:_WINDOWS]
    memory = read.shape[1] * forward.activations
    Placement.of("the sensitivity of matrices", model.device, 0, memory, "set importance: false in problem.transforms")
    with Checkpoint("measuring the sensitivity", len(read)) as checkpoint, ExitStack() as stack:
        stack.enter_context(without_offloading(model))
        sums = _Sums(checkpoint.tensors)
        if model.device.type != "cpu":  # the backward passes of its fused kernels add in varying order
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if model.device.type == "cpu" and model.dtype == torch.bfloat16 and not has_bfloat16_units():
            stack.enter_context(_fast_backward(matrix.module for matrix in matrices if matrix.module is not embedding))
        stack.callback(embedding.register_forward_hook(_require_gradient).remove)
        for matrix in matrices:
            if matrix.module is embedding:
                stack.callback(embedding.register_forward_hook(partial(sums.of_embedding, matrix.name)).remove)
            elif matrix.module is not head and not isinstance(matrix, ExpertStack):
                stack.callback(matrix.module.register_forward_hook(partial(sums.of_layer, matrix.name)).remove)
            if head is not None and matrix.weight is head.weight:
                stack.callback(head.register_forward_hook(partial(sums.of_head, matrix.name)).remove)
        stacks = [matrix for matrix in matrices if isinstance(matrix, ExpertStack)]
        stack.enter_context(recorded_products(stacks, sums.of_expert))
        windows = steps(read[checkpoint.done :], "measuring the sensitivity", "window")
        for number, window in enumerate(windows, checkpoint.done):
            with torch.enable_grad():
                window = window.to(forward.device)[None]
                rows = forward.rows(window)
                rows = scored(rows, window)[0] if masked else rows[0]
                draws = torch.rand(len(rows), generator=torch.Generator().manual_seed(number))
                rows.backward(forward.slope(rows.detach(), partial(_draw_targets, draws), copies=_COPIES))
            checkpoint.step(sums.tensors)
    count = predictions(read) if masked else read.numel()
    return {matrix.name: sums.factors(matrix.name, count, read.numel()) for matrix in matrices}


class _Linear(torch.autograd.Function):
    """A linear layer whose backward product has a layout with a fast kernel in PyTorch: 9 times as fast."""

    @staticmethod
    def forward(context: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        context.save_for_backward(weight)
        return linear(inputs, weight, bias)

    @staticmethod
    def backward(context: Any, slope: torch.Tensor) -> Any:
        return linear(slope, context.saved_tensors[0].T.contiguous()), None, None


@contextmanager
def _fast_backward(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Run the linear layers among ``modules`` as :class:`_Linear`, except layers whose forward was replaced."""
    changed: list[Any] = [module for module in modules if type(module) is nn.Linear and "forward" not in vars(module)]
    for module in changed:
        module.forward = lambda inputs, layer=module: _Linear.apply(inputs, layer.weight, layer.bias)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


class _Sums:
    """Sums of squares, float64: of rows and columns of a layer's gradients, or of slopes and inputs of a product."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def of_layer(self, name: str, _: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs = args[0].detach().flatten(0, -2)

        def add(slope: torch.Tensor) -> None:
            squares = (slope.flatten(0, -2).T @ inputs).float().square()
            self._add("layer", name, squares.sum(1), squares.sum(0))

        output.register_hook(add)

    def of_expert(self, stack: ExpertStack, expert: int, inputs: torch.Tensor, output: torch.Tensor) -> None:
        inputs, count = inputs.detach(), len(stack.weight)

        def add(slope: torch.Tensor) -> None:
            squares = (slope.T @ inputs).float().square()
            sides = [squares.new_zeros(count, size) for size in squares.shape]
            sides[0][expert], sides[1][expert] = squares.sum(1), squares.sum(0)
            self._add("layer", stack.name, sides[0].flatten(), sides[1])

        output.register_hook(add)

    def of_head(self, name: str, _: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        inputs = _squares(args[0].detach())
        output.register_hook(lambda slope: self._add("head", name, _squares(slope), inputs))

    def of_embedding(self, name: str, module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        """Outputs are the tokens that are read; the factor is the scale that some models multiply embeddings by."""
        tokens = args[0].flatten()
        factor = output.detach().float().square().sum() / module.weight[tokens].float().square().sum()
        read = torch.bincount(tokens, minlength=len(module.weight))
        output.register_hook(lambda slope: self._add("embedding", name, read, factor * _squares(slope)))

    def factors(self, name: str, count: int, read: int) -> Factors:
        """Return the factors of the matrix ``name`` from sums over ``count`` predictions; empty if it was not used.

        ``read``: the number of tokens that were looked up in the embedding.
        """
        pairs = []
        for kind in ("head", "embedding", "layer"):
            if (key := f"{kind} outputs {name}") in self.tensors:
                outputs, inputs = self.tensors[key], self.tensors[f"{kind} inputs {name}"]
                least = torch.finfo(inputs.dtype).tiny
                whole = inputs.sum(-1, keepdim=True).clamp(min=least) if kind == "layer" else count
                pairs.append((outputs / (read if kind == "embedding" else count), inputs / whole))
        return [(outputs.float(), inputs.float()) for outputs, inputs in pairs]

    def _add(self, kind: str, name: str, outputs: torch.Tensor, inputs: torch.Tensor) -> None:
        for side, part in (("outputs", outputs), ("inputs", inputs)):
            key, added = f"{kind} {side} {name}", part.double().cpu()
            self.tensors[key] = self.tensors[key] + added if key in self.tensors else added


def _squares(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(0, -2).float().square().sum(0)


def _require_gradient(_: nn.Module, __: Any, output: torch.Tensor) -> None:
    output.requires_grad_()


def _draw_targets(draws: torch.Tensor, logits: torch.Tensor, rows: slice) -> torch.Tensor:
    """Return the targets that ``draws``, in [0, 1), choose from the predictions ``logits`` of ``rows``."""
    probabilities = logits.softmax(-1)
    below = probabilities.double().cumsum(-1) < draws[rows, None].to(probabilities.device)
    return below.sum(-1).clamp(max=probabilities.shape[-1] - 1)
