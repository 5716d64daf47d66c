"""Sizes that a model could have as a .gguf file, and their losses without a search."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from evoprune.operators.knapsack import Choices
from evoprune.plugins import digits
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.interfaces import Output
from evoprune.problems.language_model.prune.reach import command
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.costs import BYTES

_SHARES = (0.6, 0.35, 0.1)  # of the way from the least bytes of types to the source's, as powers


def overview(planning: Any, output: Output) -> Iterator[str]:
    """Yield lines on sizes that the model could have, their losses without a search, and commands."""
    resident, whole, least = planning.resident, planning.headers.bytes, output.least_bytes
    sizes = [least * (whole / least) ** share for share in _SHARES]
    session = planning.session(Size(whole))
    search = session.texts.search
    yield f"{output.model}: {megabytes(whole)}, {resident.parameters:,} parameters; about the loss before training:"
    bits = search.predictions / search.predicted_bytes(resident.tokenizer) / math.log(2)
    for size in sizes:
        if (lost := lost_at(session, size)) is not None:
            yield f"  {megabytes(size)}, {size / whole:.0%}: {digits(lost * bits, 2)} bits per byte"
            yield f"    {command(output, '--size', megabytes(size))}"
    yield "smaller, faster, or with fewer tokens: prune --help"


def lost_at(session: Session, size: float) -> float | None:
    """Return the nats a token that types lose in a file of ``size`` bytes, by their estimated errors.

    None if no types are as small.
    """
    transform = session.transform
    budget = transform.costs.budget(BYTES, size)
    if not budget.within(budget.extreme(most=False)):
        return None
    choices = Choices(budget)
    costs = np.zeros(choices.count)
    for level_losses in choices.level_losses(transform.dense, absolute=True).values():
        costs[[*level_losses]] = [*level_losses.values()]
    return float(costs[choices.numbers(choices.best(costs))].sum())
