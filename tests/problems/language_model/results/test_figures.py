"""Each figure is drawn, and its sentence states its values."""

import math

import pytest

from evoprune.problems.language_model.results import figures
from evoprune.problems.language_model.results.result import RecoveredRow

pytestmark = pytest.mark.usefixtures("drawn")

UNIFORM = [(0.0, 20.0), (0.2, 30.0), (0.4, 90.0), (0.6, math.inf)]


def content(folder, name):
    assert (folder / f"{name}.png").exists()
    return (folder / f"{name}.svg").read_text()


@pytest.mark.parametrize("curve", [UNIFORM, UNIFORM[:1]])
@pytest.mark.parametrize("evolved", [41.0, math.inf])
def test_the_cliff_with_all_its_marks(tmp_path, evolved, curve):
    marks = {"uniform": (0.4, 12_345.6), "uniform, reconstructed": (0.4, 50.0)}
    told = figures.draw_cliff(curve, marks | {"evolved": (0.4, evolved)}, tmp_path, "mine")
    for words in ("dense: 20", "uniform at 40%: 12,346", "uniform, reconstructed at 40%: 50"):
        assert words in told
    assert ("evolved at 40%: infinite" in told) == math.isinf(evolved)
    for words in (">uniform: 12,346<", ">mine<"):
        assert words in content(tmp_path, "cliff")


def row(*held_out, **more):
    curve = tuple({"tokens": 1000 * at, "held_out": value} | more for at, value in enumerate(held_out))
    return RecoveredRow.model_construct(curve=curve)


@pytest.mark.parametrize("dense", [22.25, None])
def test_curves_of_recoveries_and_the_dense_model(tmp_path, dense):
    rows = {"evolved": row(52.2, 23.0, 22.5, 22.9), "uniform": row(None, 900.0, 88.2), "dense": row(22.25, 17.3)}
    told = figures.draw_recovery(rows, dense, tmp_path, "gpt2-mini, channels")
    for words in (
        "this model: 52.2 to 22.5",
        "uniform, trained alike: infinite to 88.2",
        "dense, trained alike: 22.25",
    ):
        assert words in told
    assert ("; dense: 22.25" in told) == (dense is not None)
    for words in ("this model: 52.2 to 22.5", "Recovery towards the dense model", "gpt2-mini, channels"):
        assert f">{words}<" in content(tmp_path, "recovery")


@pytest.mark.parametrize(
    ("curve", "words"),
    [
        (row(None, None), "this model: infinite to infinite"),
        (row(50.0, 50.0, held_out_divergence=0.0104), "Divergence on held-out windows"),
    ],
)
def test_a_model_that_was_never_finite_and_a_divergence_that_decides(tmp_path, curve, words):
    assert words in figures.draw_recovery({"evolved": curve}, 22.25, tmp_path)
