"""The latency of a pass of any genome, from what each level of each gene alone changes it by.

Where genes cut the same parameters, or types are chosen for what is cut, the time of a matrix is its number of weights
times a rate for its type. The rate of 16 bits is known from cuts, and what other types save of it from the uncut model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy

from evoprune import Term
from problems.models.throughput import Load
from problems.transforms.encoding import overlay_of
from problems.transforms.latency import PassTimer, Timer
from problems.transforms.shapes import Kinds, Shape, Shapes
from problems.transforms.stack import Stack
from problems.transforms.transform import ATTENTION, PARAMETERS, WEIGHTS, Transform

_UNITS = (WEIGHTS, PARAMETERS, ATTENTION)  # levels that leave the same of these are taken to be as fast


def timer_of(transform: Transform, load: Load) -> Timer:
    """The timer of the models of ``transform``: its overlay's if it has one, as that decides what runs them."""
    shapes, overlay = _shapes_of(transform), overlay_of(transform)
    cuts: list[Any] = [shapes.changed(place) for place in range(len(shapes.counts))] if shapes else []
    if overlay:
        return overlay.timer(transform, load, cuts)
    if not shapes:
        costs = [transform.costs(unit)[0] for unit in _UNITS if unit in transform.units]
        cuts = list(zip(*costs, strict=True))
    return PassTimer(transform, load, cuts)


def time_terms(transform: Transform, changes: Sequence[Sequence[float]]) -> list[Term]:
    """The milliseconds that genomes add to a pass of the dense model; see :class:`evoprune.Coupled`.

    ``changes``: what each level of each gene alone changes them by, at most 0 and falling.
    """
    shapes, overlay = _shapes_of(transform), overlay_of(transform)
    if shapes is None:
        return [Term((place,), numpy.array(table, dtype=float)) for place, table in enumerate(changes)]
    return cut_times(shapes, changes, overlay.kinds(shapes) if overlay else {})


def _shapes_of(transform: Transform) -> Shapes | None:
    return transform.shapes if isinstance(transform, Stack) else None


def cut_times(shapes: Shapes, changes: Sequence[Sequence[float]], kinds: Kinds) -> list[Term]:
    """The milliseconds that genomes add to a pass of the dense model, at most 0 and falling with each level.

    ``changes``: first of the genes that cut to ``shapes``, then of those of ``kinds``, whose first level is dense. A
    parameter takes no less than nothing.
    """
    rates = _rates(shapes, changes)
    saved = {name: dict(zip(levels, changes[place], strict=True)) for name, (place, levels) in kinds.items()}

    def count(name: str, shape: Shape, kind: str | None) -> float:
        change = saved[name][kind] if kind else 0.0
        if name not in rates:
            return change
        whole = prod(shapes.dense[name])
        rate = max(0.0, rates[name] + change / whole) if whole else rates[name]
        return prod(shape) * rate - whole * rates[name]

    return shapes.terms(count, kinds)


def _rates(shapes: Shapes, changes: Sequence[Sequence[float]]) -> dict[str, float]:
    """The milliseconds that a number of each parameter takes that genes cut, by its name.

    Equal for parameters that are cut by the same kinds of genes; at the least squared error of what levels change
    alone. Where that leaves several solutions, the one that is the nearest to one rate for all.
    """
    forms = [repr(shapes.changed(place)) for place in range(len(shapes.counts))]
    cut_by = {name: frozenset(forms[place] for place in own) for name, own in shapes.cuts.items() if own}
    classes = list(dict.fromkeys(cut_by.values()))
    rows, saved = [], []
    for place, count in enumerate(shapes.counts):
        for level in range(1, count):
            lost = dict.fromkeys(classes, 0)
            for name, cut in cut_by.items():
                if place in shapes.cuts[name]:
                    own = shapes.cuts[name][place]
                    lost[cut] += prod(own[0]) - prod(own[level])
            rows.append(list(lost.values()))
            saved.append(-changes[place][level])
    removed: Any = numpy.array(rows, dtype=float)
    every = removed.sum(1)
    common = every @ saved / (every @ every)
    own_rates = numpy.linalg.lstsq(removed, saved - common * every)[0]
    rates = dict(zip(classes, numpy.maximum(common + own_rates, 0.0).tolist(), strict=True))
    return {name: rates[cut] for name, cut in cut_by.items()}
