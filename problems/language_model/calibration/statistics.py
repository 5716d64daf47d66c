"""Statistics of the inputs of layers on calibration text, block by block; factors of Gram matrices."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any

import torch

from evoprune import InputError
from evoprune.plugins import steps
from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.models.blocks import ExpertStack, Matrix
from evoprune.problems.language_model.models.device import sum_dtype
from evoprune.problems.language_model.models.experts import recorded_products
from evoprune.problems.language_model.models.forward import Forward, Walk
from evoprune.problems.language_model.models.lazy_weights import without_offloading
from evoprune.problems.language_model.models.tensor_file import Tensors

INPUT_NORMS = "input_norms"  # (in,), float32: the Euclidean norm of each input over all tokens; (experts, in)
GRAM = "gram"  # (in, in), float32: the mean over tokens of x x^T
NAMES = frozenset({INPUT_NORMS, GRAM})

BATCH_TOKENS = 2048  # in one forward pass; another number changes rounding only

DAMPING = 0.01  # of the mean diagonal, added to the diagonal (Frantar & Alistarh, SparseGPT, ICML 2023)
_MORE_DAMPING, _TRIES = 10.0, 6
_DEAD = 1e-16  # of the mean diagonal: diagonal of inputs that were always zero
_LEAST = 1e-6  # of the mean importance: importance of any input, at least


def damped_factor(gram: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """Return the lower Cholesky factor of ``gram`` ``(in, in)``, damped by ``damping`` of the mean diagonal.

    float64 if the device has it. Damping grows tenfold until the factor exists, or RuntimeError is raised. Inputs that
    were always zero get a tiny diagonal, so that their weights are removed first, as in SparseGPT's code.
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
    """Return the inverse of ``gram`` ``(in, in)``, with the damping and dtype of :func:`damped_factor`."""
    return torch.cholesky_inverse(damped_factor(gram, damping))


def as_importance(squares: torch.Tensor) -> torch.Tensor:
    """Return the mean ``squares`` of inputs ``(..., in)`` as their importance: above 0, float32, on the CPU.

    ggml fails if a whole block of inputs has no importance. It is 1 if all inputs were always zero, as for an expert
    that no token chose.
    """
    squares = squares.float().cpu()
    least = _LEAST * squares.mean(-1, keepdim=True)
    return squares.maximum(torch.where(least > 0, least, 1.0))


def block_statistics(
    walk: Walk, block: int, matrices: Sequence[Matrix], names: Collection[str], advance: bool
) -> dict[str, Tensors]:
    """Return the statistics ``names`` of ``matrices``, all in ``block``, by the matrices' names.

    ``walk`` moves to ``block``, and with ``advance`` to the next. Stacked experts have norms only, each over the tokens
    that chose the expert. Raises :class:`evoprune.InputError` for inputs that are not finite, as in float16.
    """
    sums: dict[str, Tensors] = {matrix.name: {} for matrix in matrices}
    last: Tensors = {}  # inputs and their product, since layers often share inputs

    def add(of_matrix: Tensors, _: Any, args: tuple[torch.Tensor, ...]) -> None:
        if INPUT_NORMS in names:
            squares = _squares(args[0].flatten(0, -2))
            of_matrix[INPUT_NORMS] = of_matrix[INPUT_NORMS] + squares if INPUT_NORMS in of_matrix else squares
        if GRAM in names:
            if last.get("inputs") is not args[0]:
                rows = args[0].flatten(0, -2).float()
                last.update(inputs=args[0], product=rows.T @ rows)
            of_matrix[GRAM] = of_matrix[GRAM].add_(last["product"]) if GRAM in of_matrix else last["product"].clone()

    def add_expert(stack: ExpertStack, expert: int, inputs: torch.Tensor, _: torch.Tensor) -> None:
        squares, of_stack = _squares(inputs), sums[stack.name]
        if INPUT_NORMS not in of_stack:
            of_stack[INPUT_NORMS] = squares.new_zeros(len(stack.weight), len(squares))
        of_stack[INPUT_NORMS][expert] += squares

    with ExitStack() as hooks:
        for matrix in matrices:
            if not isinstance(matrix, ExpertStack):
                hook = partial(add, sums[matrix.name])
                hooks.callback(matrix.module.register_forward_pre_hook(hook).remove)
        hooks.enter_context(recorded_products([one for one in matrices if isinstance(one, ExpertStack)], add_expert))
        (walk.advance if advance else walk.run)(block)
    for name, of_matrix in sums.items():
        if not all(bool(torch.isfinite(value).all()) for value in of_matrix.values()):
            raise InputError(f"problem.dtype: the inputs of {name} are not finite; use bfloat16 or float32")
    tokens = walk.tokens.numel()
    return {
        matrix.name: {
            name: (value / tokens if name == GRAM else value.sqrt().float()).to(matrix.weight.device)
            for name, value in sums[matrix.name].items()
        }
        for matrix in matrices
    }


def _squares(rows: torch.Tensor) -> torch.Tensor:
    """Return the sums of squares of the columns of ``rows``, in float64 where the device has it."""
    return rows.float().square().sum(0).to(sum_dtype(rows.device))


def statistics(
    model: Any, tokens: torch.Tensor, matrices: Sequence[Matrix], names: Collection[str], label: str = "calibrating"
) -> Iterator[tuple[Matrix, Tensors]]:
    """Yield each of ``matrices``, ordered by block, with its statistics ``names`` on ``tokens`` ``(windows, window)``.

    Keeps the activations of one block at a time. ``label``: for the progress display.
    """
    activation_names = NAMES & set(names)
    with ExitStack() as stack:
        if any(isinstance(matrix, ExpertStack) for matrix in matrices):  # recognised by addresses, which copies lack
            stack.enter_context(without_offloading(model))
        squares = gradients.gradient_squares(model, tokens, matrices) if gradients.SQUARES in names else {}
        walk = Walk(Forward(model), tokens, BATCH_TOKENS) if activation_names else None
        blocks = [(block, list(members)) for block, members in groupby(matrices, key=lambda matrix: matrix.block)]
        for block, of_block in steps(blocks, label, "block"):
            of_inputs = block_statistics(walk, block, of_block, activation_names, advance=True) if walk else {}
            for matrix in of_block:
                of_gradients = {gradients.SQUARES: squares.pop(matrix.name)} if squares else {}
                yield matrix, of_inputs.get(matrix.name, {}) | of_gradients
