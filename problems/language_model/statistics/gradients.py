"""Statistics of gradients: means of their absolute values and of their squares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from evoprune import steps
from problems.language_model.model.blocks import Matrix
from problems.language_model.model.forward import Forward
from problems.language_model.unfinished import Unfinished

SIZES, SQUARES = "gradient_sizes", "gradient_squares"
NAMES = frozenset({SIZES, SQUARES})
"""The means over windows of |g| and of g^2, ``(out, in)``, float32; g is the gradient of a
window's mean next-token loss."""


def gather(
    model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix], names: Collection[str]
) -> dict[str, dict[str, torch.Tensor]]:
    """The statistics ``names`` of each of ``matrices`` over ``tokens`` ``(windows, window)``, by the matrices' names.

    Each gradient is added up and dropped as soon as it is computed, so only one layer's is
    held beside the sums. The model is used as it is now. Sums that were interrupted go on.
    """
    with Unfinished("calibrating, gradients", len(tokens)) as so_far, ExitStack() as stack, torch.enable_grad():
        sums = {matrix.name: {name: _so_far(so_far, matrix, name) for name in names} for matrix in matrices}
        flat = {_key(matrix, name): sums[matrix.name][name] for matrix in matrices for name in names}
        if model.device.type == "cuda":  # the backward passes of its fused kernels add in varying order
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for matrix in matrices:
            stack.callback(matrix.weight.requires_grad_, False)
            hook = _adding_to(sums[matrix.name], matrix, tokens.shape[0])
            stack.callback(matrix.weight.requires_grad_().register_post_accumulate_grad_hook(hook).remove)
        forward = Forward(model)
        for window in steps(tokens[so_far.done :], "calibrating, gradients", "window", len(tokens) - so_far.done):
            window = window.to(model.device)
            rows = forward.rows(window[None])[0, :-1]
            rows.backward(_slope(forward, rows.detach(), window[1:]))
            so_far.step(flat)
    return sums


def _so_far(so_far: Unfinished, matrix: Matrix, name: str) -> torch.Tensor:
    """The sum to go on from: that of an interrupted process, or 0."""
    zeros = torch.zeros_like(matrix.rows(matrix.weight), dtype=torch.float32)
    return zeros.copy_(so_far.tensors.pop(_key(matrix, name))) if so_far.done else zeros


def _key(matrix: Matrix, name: str) -> str:
    return f"{matrix.name}.{name}"


def _slope(forward: Forward, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The gradient of the mean loss in ``rows``, the head's input: logits of a whole window are never held."""
    slope = torch.empty_like(rows)
    for part in forward.parts(len(targets)):
        own = rows[part].requires_grad_()
        logits = own if forward.head is None else forward.head(own)
        loss = cross_entropy(logits.float(), targets[part], reduction="sum") / len(targets)
        (slope[part],) = torch.autograd.grad(loss, own)
    return slope


def _adding_to(sums: dict[str, torch.Tensor], matrix: Matrix, windows: int) -> Callable[[torch.Tensor], None]:
    def add(weight: torch.Tensor) -> None:
        assert weight.grad is not None
        gradient = matrix.rows(weight.grad).float()
        if SIZES in sums:
            sums[SIZES] += gradient.abs() / windows
        if SQUARES in sums:
            sums[SQUARES] += gradient.square() / windows
        weight.grad = None

    return add
