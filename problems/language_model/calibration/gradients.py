"""Mean squares of gradients, a statistic for scores."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from evoprune.plugins import steps
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.device import fitting_threads, map_in_threads
from evoprune.problems.language_model.models.forward import Forward, scored
from evoprune.problems.language_model.models.lazy_weights import without_offloading
from evoprune.problems.language_model.models.memory import Placement

SQUARES = "gradient_squares"
"""The mean over windows of g^2, ``(out, in)``, float32; g is the gradient of a window's mean loss."""


def gradient_squares(model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix]) -> dict[str, torch.Tensor]:
    """Return :data:`SQUARES` of each of ``matrices`` over ``tokens`` ``(windows, window)``, by matrix name.

    On a CPU each thread computes another window, and drops a gradient once it is added. The sums do not depend on
    the number of threads above one. An interrupted computation is resumed.
    """
    forward, order = Forward(model), _InOrder([matrix.name for matrix in matrices])
    memory = 4 * sum(matrix.size for matrix in matrices)
    Placement.of("the statistics of gradients", model.device, 0, memory, "choose a score without gradients")
    with Checkpoint("calibrating, gradients", len(tokens)) as checkpoint, ExitStack() as stack:
        stack.enter_context(without_offloading(model))
        sums = {m.name: torch.zeros_like(m.rows(m.weight), dtype=torch.float32) for m in matrices}
        for name, value in sums.items() if checkpoint.done else ():
            value.copy_(checkpoint.tensors.pop(name))
        if model.device.type != "cpu":  # the backward passes of its fused kernels add in varying order
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        count = len(tokens) * _scale(tokens[0]) ** 2
        for matrix in matrices:
            stack.callback(matrix.weight.requires_grad_, False)
            hook = order.hook(matrix.name, partial(_add, sums[matrix.name], matrix, count))
            stack.callback(matrix.weight.requires_grad_().register_hook(hook).remove)
        weights = [matrix.weight for matrix in matrices]
        threads = fitting_threads(model.device, tokens.shape[1] * forward.depth * forward.bytes_per_token)

        def passes() -> Iterator[None]:
            for group in tokens[checkpoint.done :].split(threads):
                yield from order.run(lambda window: _differentiate(forward, weights, window), group, threads)
                checkpoint.step(sums, len(group))

        for _ in steps(passes(), "calibrating, gradients", "window", len(tokens) - checkpoint.done):
            pass
    return sums


class _InOrder:
    """Threads that compute a window each, and add to the sum of every matrix in the order of the windows."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._thread = threading.local()  # with the number of its window
        self._added: list[dict[str, threading.Event]] = []

    def run(self, compute: Callable[[torch.Tensor], None], windows: torch.Tensor, threads: int) -> Iterator[None]:
        """Call ``compute`` for all ``windows``, at most one for each of ``threads``, at the same time."""
        self._added = [{name: threading.Event() for name in self._names} for _ in windows]

        def compute_one(number: int) -> None:
            self._thread.number = number
            try:
                compute(windows[number])
            finally:  # after an error too, as others wait
                for added in self._added[number].values():
                    added.set()

        yield from map_in_threads(compute_one, range(len(windows)), threads)

    def hook(self, name: str, add: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a hook that adds the gradient of the matrix ``name`` after earlier windows, and drops it."""

        def add_in_order(gradient: torch.Tensor) -> torch.Tensor:
            number = getattr(self._thread, "number", 0)  # on a GPU, with one window, another thread runs this
            if number:
                self._added[number - 1][name].wait()
            add(gradient)
            self._added[number][name].set()
            return gradient.new_zeros(()).expand_as(gradient)  # autograd keeps it to the end of the pass

        return add_in_order


def _scale(window: torch.Tensor) -> int:
    """Return the factor of gradients of the mean loss, which would be too small for float16."""
    return len(window) - 1


def _differentiate(forward: Forward, weights: Sequence[torch.Tensor], window: torch.Tensor) -> None:
    window = window.to(forward.device)
    with torch.enable_grad():
        rows, targets = scored(forward.rows(window[None]), window[None])
        slope = forward.slope(rows.detach(), lambda _, part: targets[part], len(targets) / _scale(window))
        torch.autograd.grad(rows, weights, slope, allow_unused=True)


def _add(squares: torch.Tensor, matrix: Matrix, count: int, gradient: torch.Tensor) -> None:
    gradient = matrix.rows(gradient).float()
    squares.addcmul_(gradient, gradient, value=1 / count)
