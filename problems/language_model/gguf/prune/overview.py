"""Sizes that a model could have as a .gguf file, and their losses without a search."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from evoprune import InputError
from evoprune.operators.knapsack import Choices
from evoprune.plugins import digits, note
from evoprune.problems.language_model.evaluation.session import Session
from evoprune.problems.language_model.gguf.types.matrices import DENSE, is_smaller
from evoprune.problems.language_model.gguf.types.transform import Types
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.interfaces import Output
from evoprune.problems.language_model.prune.reach import command
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.transforms.costs import BYTES

_SHARES = (0.7, 0.5, 0.3, 0.1)  # of the way from the least bytes of types to the source's, as powers
_LITTLE = 0.05  # bits per byte, up to which a loss is little: perplexity rises by a sixth at most


class Preset(NamedTuple):
    """A preset of llama.cpp: the bytes of its file, and the estimated loss, in nats a token."""

    name: str
    size: float
    lost: float


def overview(planning: Any, output: Output) -> Iterator[str]:
    """Yield lines on sizes that the model could have, their losses without a search, presets, and commands."""
    resident, whole, least = planning.resident, planning.headers.bytes, output.least_bytes
    sizes = [least * (whole / least) ** share for share in _SHARES]
    session = planning.session(Size(whole))
    search = session.texts.search
    yield (
        f"{output.model}: {megabytes(whole)}, {resident.parameters:,} parameters; about the loss before training "
        f"({_LITTLE:g} bits per byte are little: perplexity rises by a sixth at most):"
    )
    bits = search.predictions / search.predicted_bytes(resident.tokenizer) / math.log(2)
    losses = {size: lost for size in sizes if (lost := lost_at(session, size)) is not None}
    for size, lost in losses.items():
        yield f"  {megabytes(size)}, {size / whole:.0%}: {digits(lost * bits, 2)} bits per byte"
        yield f"    {command(output, '--size', megabytes(size))}"
    if smaller := [preset for preset in presets(session) if preset.size < whole]:
        yield "llama.cpp's presets, and the types that a search would choose in as many bytes:"
    for name, size, lost in smaller:
        losses[size] = own = min(lost, lost_at(session, size) or 0.0)
        pair = f"{digits(lost * bits, 2)} and {digits(own * bits, 2)} bits per byte"
        yield f"  {name}, {megabytes(size)}, {size / whole:.0%}: {pair}"
    if losses:
        yield _advice({size: lost * bits for size, lost in losses.items()}, output)
    if not output.asked.texts:
        yield "all on Python's documentation: give --text FILE, a text of the kind that the model is for"
    yield from planning.advice(Size(least))
    yield "smaller, faster, or with fewer tokens: prune --help"


def _advice(losses: dict[float, float], output: Output) -> str:
    """Return a sentence on the size to take, by the ``losses`` of sizes in bits per byte."""
    little = [size for size, lost in losses.items() if lost <= _LITTLE]
    taken = min(little, default=max(losses))
    why = f"the smallest of these that loses at most {_LITTLE:g}" if little else f"as all lose more than {_LITTLE:g}"
    return f"take {megabytes(taken)}, {why}: {command(output, '--size', megabytes(taken))}"


def presets(session: Session) -> list[Preset]:
    """Return llama.cpp's presets of the dense model, largest first, without dominated presets."""
    types = session.transform.find(Types)
    if types is None:
        return []
    try:
        kinds = types.file.presets()
    except InputError as error:
        note(f"there are no presets to compare with: {error}")
        return []
    found = [(name, types.file.bytes_of(own), _lost_by(types, own)) for name, own in kinds.items()]
    kept: list[Preset] = []
    for name, size, lost in sorted(found, key=lambda each: each[1]):
        if lost is not None and (not kept or lost < kept[-1].lost):
            kept.append(Preset(name, size, lost))
    return kept[::-1]


def _lost_by(types: Types, kinds: Sequence[str]) -> float | None:
    """Return the estimated loss of matrices in ``kinds``, in nats a token; None if a type has no estimate.

    A type with as many bits as the source's loses nothing.
    """
    copies = [each.copy for each in types.type_genes.matrices]
    pairs = [
        (copy.matrix.name, kind)
        for copy, kind in zip(copies, kinds, strict=True)
        if kind != DENSE and is_smaller(copy.matrix, kind, copy.source)
    ]
    losses = types.errors.divergences
    return sum(losses[pair] for pair in pairs) if losses.keys() >= {*pairs} else None


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
