"""What a pass takes of a model that is cut and stored in types, from what each level of each gene alone changes.

A matrix's time is its number of weights times a rate for its type. The rate of 16 bits is known from cuts, and what
other types save of it from the uncut model.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy

from evoprune import Term
from problems.transforms.shapes import Kinds, Shape, Shapes


def cut_times(shapes: Shapes, changes: Sequence[Sequence[float]], kinds: Kinds) -> list[Term]:
    """What genes change the milliseconds of the dense model's pass by, at most 0 and falling with each level.

    ``changes``: what each level of each gene alone changes them by, at most 0 and falling: first those that cut to
    ``shapes``, then those of ``kinds``, the first of which is dense. A parameter takes no less than nothing.
    """
    rates = _rates(shapes, changes)
    saved = {name: dict(zip(levels, changes[place], strict=True)) for name, (place, levels) in kinds.items()}

    def count(name: str, shape: Shape, kind: str | None) -> float:
        change = saved[name][kind] if kind else 0.0
        if name not in rates:
            return change
        whole = prod(shapes.dense[name])
        return prod(shape) * max(0.0, rates[name] + change / whole) - whole * rates[name]

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
                    lost[cut] += prod(shapes.dense[name]) - prod(shapes.cuts[name][place][level])
            rows.append(list(lost.values()))
            saved.append(-changes[place][level])
    removed: Any = numpy.array(rows, dtype=float)
    every = removed.sum(1)
    common = every @ saved / (every @ every)
    own = numpy.linalg.lstsq(removed, saved - common * every)[0]
    rates = dict(zip(classes, numpy.maximum(common + own, 0.0).tolist(), strict=True))
    return {name: rates[cut] for name, cut in cut_by.items()}
