"""Numbers on axes."""

import math

import pytest

from evoprune.figures import search as figures
from evoprune.figures.search import draw_convergence, draw_front
from evoprune.figures.style import log_scale_if_wide, new_figure, save_figure


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(("most", "label"), [(40_000, "10,000"), (4e7, "10,000,000")])
def test_a_wide_axis_has_plain_numbers_or_powers_throughout(most, label):
    figure, axes = new_figure()
    axes.plot([10, most])
    log_scale_if_wide(axes, [10, most])
    figure.draw_without_rendering()
    assert label in labels(axes.yaxis)
    assert len({text.isdecimal() for text in labels(axes.yaxis) if "," not in text}) == 1


@pytest.mark.usefixtures("png_drawn")
def test_dollars_are_no_mathematics(tmp_path):
    figure, axes = new_figure()
    axes.plot([10, 4e7], label="a$b_$c")
    axes.set(xlabel="m$5_to_$10", title="t$5_to_$10")
    axes.legend()
    save_figure(figure, tmp_path, "figure")
    assert (tmp_path / "figure.png").stat().st_size > 5000
    assert all(f">{text}<" in (tmp_path / "figure.svg").read_text() for text in ("a$b_$c", "m$5_to_$10", "t$5_to_$10"))


@pytest.mark.usefixtures("drawn")
def test_convergence_has_a_line_for_each_reference_that_is_asked_for(tmp_path):
    known = {"dense": 20.0, "uniform 45%": 12_345.6, "uniform 5%": 21.0, "broken": None}
    history = [{"reference": name, "fitness": [value]} for name, value in known.items()]
    history += [{"generation": n, "best": 90.0 - n, "median": 95.0, "quartiles": [92.0, 99.0]} for n in range(3)]
    draw_convergence(history, "perplexity", tmp_path, "a model, seed 3", ("dense", "uniform 45%", "broken"))
    told = (tmp_path / "convergence.svg").read_text()
    for text in (">dense: 20<", ">uniform 45%: 12,346<", ">a model, seed 3<"):
        assert text in told
    assert "uniform 5%" not in told
    assert "broken" not in told


def test_a_front_has_a_panel_for_each_objective_beside_the_first(tmp_path, monkeypatch):
    """What is not finite is left out, and a lossless point leaves the scale to the others."""
    front = [(1e-9, 9e6, 1.0), (0.5, 4e6, 2.0), (4.0, 1e6, 3.0), (4.5, 2e6, math.nan)]
    labels = ["loss", "bytes", "gain"]
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, *_: drawn.append(figure))
    draw_front({"found": front, "known": [(math.inf, 1.0, 1.0)]}, labels, (-1.0, -1.0, 1.0), tmp_path, "a model")
    (figure,) = drawn
    assert [axes.get_xlabel() for axes in figure.axes] == labels[1:]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["found"]
    best = [sorted(zip(*axes.lines[0].get_data(), strict=True)) for axes in figure.axes]
    assert best == [[(1e6, 4.0), (4e6, 0.5), (9e6, 1e-9)], [(1.0, 1e-9), (2.0, 0.5), (3.0, 4.0)]]
    least, most = figure.axes[0].get_ylim()
    height = [figure.axes[0].transData.transform((1e6, y))[1] for y in (least, 0.5, 4.0, most)]
    assert least == 0
    assert height[2] - height[1] > 0.1 * (height[3] - height[0])
