"""The figure of a front."""

from evoprune.fronts.figure import draw
from tests.evoprune.fronts.test_points import front


def test_a_lossless_file_leaves_the_scale_to_the_others():
    lossless, others = (1e-9, 9.0), [(0.5, 1.0), (0.01, 2.0), (0.002, 3.0)]
    (axes,) = draw(front(*others, lossless), "bytes").axes
    least, most = axes.get_ylim()
    place = axes.transData.transform
    assert least == 0
    assert place((1, 0.5))[1] - place((1, 0.002))[1] > 0.4 * (place((1, most))[1] - place((1, least))[1])
