"""The law of a front: no point that is kept is beaten, and all others are."""

import random

import pytest

from evoprune.fronts.page import draw
from evoprune.fronts.points import Front, Point
from evoprune.interfaces.export import Quantity

QUANTITIES = {
    "loss": Quantity("loss", "lower"),
    "bytes": Quantity("bytes", "lower"),
    "speed": Quantity("speed", "higher"),
    "perplexity": Quantity("perplexity"),
}


def front(*values):
    points = [
        Point("a", f"a/{number}", dict(zip(QUANTITIES, each, strict=False))) for number, each in enumerate(values)
    ]
    return Front(QUANTITIES, "a text", points, [])


def kept(found, axis):
    return {point.name for point in found.kept(axis, found.measured(axis))}


@pytest.mark.parametrize(("axis", "sign"), [("bytes", 1), ("speed", -1)])
def test_what_is_kept_is_unbeaten_and_what_is_not_is_beaten_by_one_that_is(axis, sign):
    draw = random.Random(3).randint
    for _ in range(50):
        found = front(*((draw(0, 6), draw(0, 6), draw(0, 6)) for _ in range(12)))
        names = kept(found, axis)
        places = {point.name: (point.values["loss"], sign * point.values[axis]) for point in found.points}
        best = [places[name] for name in names]
        for name, (loss, other) in places.items():
            at_least = [one for one in best if one[0] <= loss and one[1] <= other]
            assert (set(at_least) == {(loss, other)}) == (name in names)


def test_only_what_was_measured_is_an_axis_and_nothing_that_is_better_no_way():
    assert front((1, 10, None, 50.0), (2, 20, None, 60.0)).axes == ["bytes"]
    mixed = front((1, 10, 5), (2, 20, None))
    assert mixed.axes == ["bytes", "speed"]
    assert kept(mixed, "speed") == {"a/0"}


def test_a_lossless_file_leaves_the_scale_to_the_others():
    lossless, others = (1e-9, 9.0), [(0.5, 1.0), (0.01, 2.0), (0.002, 3.0)]
    (axes,) = draw(front(*others, lossless), "bytes").axes
    least, most = axes.get_ylim()
    place = axes.transData.transform
    assert least == 0
    assert place((1, 0.5))[1] - place((1, 0.002))[1] > 0.4 * (place((1, most))[1] - place((1, least))[1])
