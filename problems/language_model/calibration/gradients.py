"""Statistics of gradients: means of their squares."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint
from evoprune.problems.language_model.models.blocks import Matrix
from evoprune.problems.language_model.models.device import fitting_threads, map_in_threads
from evoprune.problems.language_model.models.forward import Forward, scored
from evoprune.problems.language_model.models.late import at_home
from evoprune.problems.language_model.models.memory import Room

SQUARES = "gradient_squares"
"""The mean over windows of g^2, ``(out, in)``, float32; g is the gradient of a window's mean loss."""


def gather(model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix]) -> dict[str, torch.Tensor]:
    """Return :data:`SQUARES` of each of ``matrices`` over ``tokens`` ``(windows, window)``, by matrix name.

    On a CPU each thread computes its own window, and drops a gradient once it is added. The sums are the same with any
    number of threads above one. Interrupted sums are continued.
    """
    forward, turns = Forward(model), _Turns([matrix.name for matrix in matrices])
    taken = 4 * sum(matrix.size for matrix in matrices)
    Room.of("the statistics of gradients", model.device, 0, taken, "choose a score without gradients")
    with Checkpoint("calibrating, gradients", len(tokens)) as so_far, ExitStack() as stack:
        stack.enter_context(at_home(model))
        sums = {each.name: torch.zeros_like(each.rows(each.weight), dtype=torch.float32) for each in matrices}
        for name, value in sums.items() if so_far.done else ():
            value.copy_(so_far.tensors.pop(name))
        if model.device.type != "cpu":  # the backward passes of its fused kernels add in varying order
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for matrix in matrices:
            stack.callback(matrix.weight.requires_grad_, False)
            hook = turns.hook(matrix.name, partial(_add, sums[matrix.name], matrix, len(tokens)))
            stack.callback(matrix.weight.requires_grad_().register_hook(hook).remove)
        weights = [matrix.weight for matrix in matrices]
        most = fitting_threads(model.device, tokens.shape[1] * forward.depth * forward.bytes_per_token)

        def passes() -> Iterator[None]:
            for group in tokens[so_far.done :].split(most):
                yield from turns.take(lambda window: _differentiate(forward, weights, window), group, most)
                so_far.step(sums, len(group))

        for _ in steps(passes(), "calibrating, gradients", "window", len(tokens) - so_far.done):
            pass
    return sums


class _Turns:
    """Threads with a window each that add to the sum of every matrix in the order of the windows."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._thread = threading.local()  # the number of its window
        self._added: list[dict[str, threading.Event]] = []

    def take(self, compute: Callable[[torch.Tensor], None], windows: torch.Tensor, most: int) -> Iterator[None]:
        """Call ``compute`` for each of ``windows``, at most ``most``, all at once."""
        self._added = [{name: threading.Event() for name in self._names} for _ in windows]

        def turn(number: int) -> None:
            self._thread.number = number
            try:
                compute(windows[number])
            finally:  # also after an error: others wait for them
                for added in self._added[number].values():
                    added.set()

        yield from map_in_threads(turn, range(len(windows)), most)

    def hook(self, name: str, add: Callable[[torch.Tensor], None]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a hook that adds the gradient of the matrix ``name`` when it is this window's turn, and drops it."""

        def take_turn(gradient: torch.Tensor) -> torch.Tensor:
            number = getattr(self._thread, "number", 0)  # on a GPU, with one window, another thread runs this
            if number:
                self._added[number - 1][name].wait()
            add(gradient)
            self._added[number][name].set()
            return gradient.new_zeros(()).expand_as(gradient)  # autograd holds it to the end of the pass

        return take_turn


def _differentiate(forward: Forward, weights: Sequence[torch.Tensor], window: torch.Tensor) -> None:
    window = window.to(forward.device)
    with torch.enable_grad():
        rows, targets = scored(forward.rows(window[None]), window[None])
        slope = forward.slope(rows.detach(), lambda _, part: targets[part], len(targets))
        torch.autograd.grad(rows, weights, slope, allow_unused=True)


def _add(squares: torch.Tensor, matrix: Matrix, windows: int, gradient: torch.Tensor) -> None:
    gradient = matrix.rows(gradient).float()
    squares.addcmul_(gradient, gradient, value=1 / windows)
