"""``prune MODEL`` without a goal: sizes that the model could have and about the loss of each, without a search."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from evoprune import InputError
from evoprune.console.formatting import digits
from evoprune.operators.knapsack import Choices
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.runtime import decoding_speed
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.phases import Phases
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.costs import BYTES

_SHARES, _OF_HALVES = (0.9, 0.75, 0.6), (0.5, 0.35, 0.28)  # of the source's bytes, and of one in 16 bits
_TIMED = 2.0  # seconds
_TYPES = 4  # for each size


def overview(phases: Phases, given: Sequence[str]) -> Iterator[str]:
    """Yield lines on sizes that the model could have, their losses and the commands that make them.

    ``given``: the option that named the text, and its name.
    """
    model, resident, subject = phases.settings.model, phases.resident, phases.subject
    if lacking := ggml.missing():
        raise InputError(lacking, model)
    is_file = model.endswith(".gguf")
    whole = float(Path(model).expanduser().stat().st_size) if is_file else 2.0 * resident.parameters
    sizes = [share * whole for share in (_SHARES if is_file else _OF_HALVES)]
    kinds = [subject.types_near(8 * size / subject.weights, _TYPES) for size in sizes]
    session = phases.session("types", Size(sizes[-1]), sorted({kind for own in kinds for kind in own}))
    yield _now(phases, whole, is_file)
    search = session.texts.search
    yield f"the loss of types of matrices alone, before training, by {search.predictions:,} predictions of the text:"
    letters = search.predicted_bytes(resident.tokenizer) / search.predictions
    for size in sizes:
        lost = lost_at(session, size)
        if lost is None:
            told = f"no types are as small: {'experts' if subject.experts else 'heads and channels'} go, too"
        else:
            told = f"about {digits(lost / letters / math.log(2), 2)} bits per byte"
        yield f"  {megabytes(size)}, {size / whole:.0%}: {told}"
        yield f"    {_command(model, size, given)}"
    yield "faster, or with fewer tokens: --speedup 1.3, --vocabulary TEXT; all goals: prune --help"


def lost_at(session: Session, size: float) -> float | None:
    """Return the nats a token that types lose in a file of ``size`` bytes, by their estimated errors.

    None if no types are as small.
    """
    transform = session.transform
    budget = transform.budget(BYTES, size)
    if not budget.within(budget.extreme(most=False)):
        return None
    choices, origin = Choices(budget), transform.dense
    costs = np.zeros(choices.count)
    for own in choices.harms(origin, absolute=True).values():
        costs[[*own]] = [*own.values()]
    return float(costs[choices.numbers(choices.best(costs))].sum())


def _now(phases: Phases, whole: float, is_file: bool) -> str:
    model, parameters = phases.settings.model, phases.resident.parameters
    told = f"{model}: {megabytes(whole)}{'' if is_file else ' in 16 bits'}, {parameters:,} parameters"
    speed = decoding_speed(Path(model).expanduser(), _TIMED) if is_file else None
    return f"{told}; generates {digits(speed, 3)} tokens/s in llama.cpp" if speed else told


def _command(model: str, size: float, given: Sequence[str]) -> str:
    asked = megabytes(size).replace(",", "").replace(" ", "")
    words = ["python", "-m", "evoprune", "prune", model, "--size", asked, *given, "--out", "smaller.gguf"]
    return shlex.join(words)
