"""What each level of each gene seems to cost, in closed form: ``(choices.count,)``, gene by gene.

``imatrix``: the squared error of the weights, each weighted by its input's mean square, as pull request 15550 of
llama.cpp has it (matrices without an importance matrix, here the embedding, have weights of 1). ``first_order``: the
sum of |g dw|, as AutoScheme of AutoRound has it. ``fisher``: the sum of g^2 dw^2, as ModelOpt's search by gradients,
but of weights, not of outputs; g are gradients of the next-token loss on the calibration text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy
import torch

from operators.knapsack import Floats
from problems.calibration import gradients
from problems.transforms.gguf_types.levels import DENSE, held
from tests.benchmarks.bits.kinds import Kinds
from tests.benchmarks.bits.task import Task

Costs = Callable[[Task, Kinds], Floats]

_GRADIENT = 3
"""What a token of a gradient counts: a forward pass, and a backward one of twice its work."""


def imatrix(task: Task, kinds: Kinds) -> Floats:
    """Reads no text of its own: the importance matrix is that of the levels."""
    weights = {name: torch.from_numpy(found) for name, found in kinds.importance.items()}
    one = torch.ones(1)
    return task.once("imatrix", lambda: _summed(task, lambda name, change: change.square() * weights.get(name, one)))


def first_order(task: Task, kinds: Kinds) -> Floats:
    """Pays for gradients."""
    return _by_gradients(task)[0]


def fisher(task: Task, kinds: Kinds) -> Floats:
    """Pays for gradients."""
    return _by_gradients(task)[1]


def _by_gradients(task: Task) -> tuple[Floats, Floats]:
    """Both costs, of one pass."""
    session = task.problem.session
    tokens = session.texts.calibration.tokens
    task.pay(_GRADIENT * tokens.numel())

    def costs() -> tuple[Floats, Floats]:
        session.transform.apply(session.transform.dense)
        found = gradients.gather(session.resident.model, tokens, task.transform.matrices, gradients.NAMES)
        return (
            _summed(task, lambda name, change: found[name][gradients.SIZES] * change.abs()),
            _summed(task, lambda name, change: found[name][gradients.SQUARES] * change.square()),
        )

    return task.once("gradients", costs)


def _summed(task: Task, cost: Callable[[str, torch.Tensor], torch.Tensor]) -> Floats:
    """The sum of ``cost`` of what each level changes of a matrix, given its name, over its weights ``(out, in)``."""
    return numpy.array([*_each(task, cost)])


def _each(task: Task, cost: Callable[[str, torch.Tensor], torch.Tensor]) -> Iterator[float]:
    stored = task.transform._stored
    for sheet, gene in zip(task.transform._sheets, task.problem.genes, strict=True):
        matrix = sheet.matrix
        for kind in gene.levels:
            values = sheet.whole if kind == DENSE else held(matrix, stored, str(kind))[0]
            change = matrix.rows(values).float() - matrix.rows(sheet.whole).float()
            yield float(cost(matrix.name, change).sum(dtype=torch.float64))
