"""Statistics of each layer of the dense model, block by block, on calibration text; factors of Gram matrices."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any

import torch

from evoprune import InputError
from evoprune.console.phase import steps
from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.calibration.tensor_cache import Checkpoint
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.device import sum_dtype
from evoprune.problems.language_model.models.experts import products_noted
from evoprune.problems.language_model.models.forward import Forward, Walk

DAMPING = 0.01  # of the mean diagonal, added to the diagonal (Frantar & Alistarh, SparseGPT, ICML 2023)
_MORE_DAMPING, _TRIES = 10.0, 6
_DEAD = 1e-16  # of the mean diagonal: the diagonal for inputs that were always zero


def damped_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the lower Cholesky factor of ``gram`` ``(in, in)``, damped by ``damping`` of the mean diagonal.

    float64 if the device has it. Damping grows tenfold until the factor exists, else RuntimeError is raised. Inputs
    that were always zero get a tiny diagonal, so that their weights go first, as in SparseGPT's code.
    """
    matrix = gram.to(sum_dtype(gram.device), copy=True)
    diagonal = matrix.diagonal()
    mean, used = float(diagonal.mean()), diagonal != 0
    step = damping * mean
    diagonal[~used] = _DEAD * mean or 1.0
    for _ in range(_TRIES):
        diagonal[used] += step
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if not failed:
            return factor  # type: ignore[no-any-return]
        step *= _MORE_DAMPING
    raise RuntimeError("the inputs of a layer are not finite, so their Gram matrix has no inverse")


def damped_inverse(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the inverse of ``gram`` ``(in, in)``, damped and in the dtype as by :func:`damped_factor`."""
    return torch.cholesky_inverse(damped_factor(gram, damping))


_UNUSED = 1e-6  # the share of the mean importance that an input has at least


def as_importance(squares: torch.Tensor) -> torch.Tensor:
    """Return the mean ``squares`` of inputs ``(..., in)`` as their importance in float32, on the CPU.

    ggml fails where a whole block of inputs has none. It is 1 if all inputs were always zero, as of an expert that no
    token chose.
    """
    squares = squares.float().cpu()
    least = _UNUSED * squares.mean(-1, keepdim=True)
    return squares.maximum(torch.where(least > 0, least, 1.0))


INPUT_NORMS = "input_norms"  # (in,), float32: the Euclidean norm of each input over all tokens; (experts, in)
GRAM = "gram"  # (in, in), float32: the mean over tokens of x x^T
NAMES = frozenset({INPUT_NORMS, GRAM})

Sums = dict[str, torch.Tensor]


def gather(
    walk: Walk, block: int, matrices: Sequence[Matrix], names: Collection[str], advance: bool
) -> dict[str, Sums]:
    """Return the statistics ``names`` of each of ``matrices``, all in ``block``, by the matrices' names.

    ``walk`` is before ``block``, and moves to the next with ``advance``. Infinite inputs, as of float16, are refused.
    Of stacked experts the norms alone are known, over the tokens that chose each.
    """
    sums: dict[str, Sums] = {matrix.name: {} for matrix in matrices}
    products = _Products()
    with ExitStack() as stack:
        for matrix in matrices:
            if not isinstance(matrix, ExpertStack):
                hook = partial(_add, sums[matrix.name], names, products)
                stack.callback(matrix.module.register_forward_pre_hook(hook).remove)
        stacks = [matrix for matrix in matrices if isinstance(matrix, ExpertStack)]
        stack.enter_context(products_noted(stacks, partial(_add_expert, sums)))
        (walk.advance if advance else walk.run)(block)
    for name, of_matrix in sums.items():
        if not all(bool(torch.isfinite(value).all()) for value in of_matrix.values()):
            raise InputError(f"problem.dtype: the inputs of {name} are not finite; use bfloat16 or float32")
    tokens = walk.tokens.numel()
    return {matrix.name: _finished(sums[matrix.name], tokens, matrix.weight.device) for matrix in matrices}


class _Products:
    """Products of a batch's inputs with themselves, computed once for layers that share the inputs."""

    def __init__(self) -> None:
        self._inputs, self._products = torch.empty(0), torch.empty(0)

    def of(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs is not self._inputs:
            rows = inputs.flatten(0, -2).float()
            self._inputs, self._products = inputs, rows.T @ rows
        return self._products


def _add(sums: Sums, names: Collection[str], products: _Products, _: Any, inputs: tuple[torch.Tensor, ...]) -> None:
    """Add up squares (float64 where the device has it) and products of a layer's inputs."""
    if INPUT_NORMS in names:
        squares = inputs[0].flatten(0, -2).float().square().sum(0)
        squares = squares.to(sum_dtype(squares.device))
        sums[INPUT_NORMS] = sums[INPUT_NORMS] + squares if INPUT_NORMS in sums else squares
    if GRAM in names:
        product = products.of(inputs[0])
        sums[GRAM] = sums[GRAM].add_(product) if GRAM in sums else product.clone()


def _add_expert(
    sums: Mapping[str, Sums], stack: ExpertStack, expert: int, inputs: torch.Tensor, _: torch.Tensor
) -> None:
    squares = inputs.float().square().sum(0)
    squares = squares.to(sum_dtype(squares.device))
    of_stack = sums[stack.name]
    if INPUT_NORMS not in of_stack:
        of_stack[INPUT_NORMS] = squares.new_zeros(len(stack.weight), len(squares))
    of_stack[INPUT_NORMS][expert] += squares


def _finished(sums: Sums, tokens: int, home: torch.device) -> Sums:
    means = {name: (value / tokens if name == GRAM else value.sqrt().float()) for name, value in sums.items()}
    return {name: value.to(home) for name, value in means.items()}


BATCH_TOKENS = 2048  # in one forward pass; another number changes rounding only

Statistics = dict[str, torch.Tensor]


def statistics(
    model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix], names: Collection[str], label: str = "calibrating"
) -> Iterator[tuple[Matrix, Statistics]]:
    """Yield each of ``matrices``, ordered by block, with its statistics ``names`` on ``tokens`` ``(windows, window)``.

    Holds the activations of one block at a time. ``label`` names the work. Interrupted sums are continued, but not Gram
    matrices, which would take too much room.
    """
    activation_names, gradient_names = NAMES & set(names), gradients.NAMES & set(names)
    of_gradients = gradients.gather(model, tokens, matrices, gradient_names) if gradient_names else {}
    walk = Walk(Forward(model), tokens, BATCH_TOKENS) if activation_names else None
    blocks = [(block, list(members)) for block, members in groupby(matrices, key=lambda matrix: matrix.block)]
    of_what = ", ".join([*sorted(names), *(matrix.name for matrix in matrices)])
    with Checkpoint(label, len(blocks), of_what) as so_far:
        done = [matrix for _, of_block in blocks[: so_far.done] for matrix in of_block]
        norms = {m.name: so_far.tensors[m.name].to(m.weight.device, copy=True) for m in done}
        if walk and done:
            walk.restore(so_far.tensors)
        for place, (block, of_block) in enumerate(steps(blocks, label, "block")):
            statistics_of: dict[str, Statistics] = {}
            if place < so_far.done:
                statistics_of = {matrix.name: {INPUT_NORMS: norms[matrix.name]} for matrix in of_block}
            elif walk:
                statistics_of = gather(walk, block, of_block, activation_names, advance=True)
                if activation_names == {INPUT_NORMS}:
                    norms |= {matrix.name: statistics_of[matrix.name][INPUT_NORMS] for matrix in of_block}
                    so_far.step(norms | walk.states)
            for matrix in of_block:
                yield matrix, statistics_of.get(matrix.name, {}) | of_gradients.pop(matrix.name, {})
