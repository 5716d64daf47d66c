"""``prune MODEL`` without a goal: sizes that the model could have and about the loss of each, without a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from evoprune import InputError
from evoprune.console.formatting import digits
from evoprune.operators.knapsack import Choices
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.models.weight_files import bytes_of, weight_files
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.phases import Phases
from evoprune.problems.language_model.prune.reach import command, option_value
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.costs import BYTES

_SHARES = (0.6, 0.35, 0.1)  # of the way from the least bytes of types to the source's, as powers
_TYPES = 4  # for each size


def overview(phases: Phases, given: Sequence[str]) -> Iterator[str]:
    """Yield lines on sizes that the model could have, their losses and the commands that make them.

    ``given``: the option that named the text, and its name.
    """
    model, resident, subject = phases.settings.model, phases.resident, phases.subject
    if lacking := ggml.missing():
        raise InputError(lacking, model)
    whole, least = bytes_of(weight_files(phases.settings)), subject.least
    sizes = [least * (whole / least) ** share for share in _SHARES]
    kinds = {kind for size in sizes for kind in subject.types_near(8 * size / subject.weights, _TYPES)}
    session = phases.session("types", Size(sizes[-1]), sorted(kinds))
    search = session.texts.search
    yield f"{model}: {megabytes(whole)}, {resident.parameters:,} parameters; about the loss before training:"
    bits = search.predictions / search.predicted_bytes(resident.tokenizer) / math.log(2)
    for size in sizes:
        if (lost := lost_at(session, size)) is not None:
            yield f"  {megabytes(size)}, {size / whole:.0%}: {digits(lost * bits, 2)} bits per byte"
            yield f"    {command(model, '--size', option_value(size), *given)}"
    yield "smaller, faster, or with fewer tokens: prune --help"


def lost_at(session: Session, size: float) -> float | None:
    """Return the nats a token that types lose in a file of ``size`` bytes, by their estimated errors.

    None if no types are as small.
    """
    transform = session.transform
    budget = transform.budget(BYTES, size)
    if not budget.within(budget.extreme(most=False)):
        return None
    choices = Choices(budget)
    costs = np.zeros(choices.count)
    for harms in choices.harms(transform.dense, absolute=True).values():
        costs[[*harms]] = [*harms.values()]
    return float(costs[choices.numbers(choices.best(costs))].sum())
