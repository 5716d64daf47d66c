"""Numbers on axes."""

import pytest

from evoprune.figures import log_scale_if_wide, new, thousands


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(("most", "label"), [(40_000, "10,000"), (4e7, r"$\mathdefault{10^{7}}$")])
def test_a_wide_axis_has_plain_numbers_or_powers_throughout(most, label):
    figure, axes = new()
    axes.plot([10, most])
    log_scale_if_wide(axes, [10, most])
    figure.draw_without_rendering()
    assert label in labels(axes.yaxis)
    assert len({text.startswith("$") for text in labels(axes.yaxis)}) == 1


def test_counts_are_plain_numbers():
    figure, axes = new()
    axes.plot([0, 3_000_000], [0, 1])
    thousands(axes.xaxis)
    figure.draw_without_rendering()
    assert "1,000,000" in labels(axes.xaxis)
