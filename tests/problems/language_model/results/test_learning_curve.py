"""The figure of recoveries shows each model's course, and its sentence says where each begins and how far it comes."""

import pytest

from evoprune.problems.language_model.results.learning_curve import draw_recovery
from evoprune.problems.language_model.results.result import RecoveredRow

pytestmark = pytest.mark.usefixtures("drawn")


def row(*held_out):
    curve = tuple({"tokens": 1000 * at, "held_out": value} for at, value in enumerate(held_out))
    return RecoveredRow.model_construct(curve=curve)


@pytest.mark.parametrize("dense", [22.25, None])
def test_courses_and_the_dense_model(tmp_path, dense):
    rows = {"evolved": row(52.2, 23.0, 22.5, 22.9), "uniform": row(None, 900.0, 88.2), "dense": row(22.25, 17.3)}
    told = draw_recovery(rows, dense, tmp_path, "gpt2-mini, channels")
    for words in ("evolved: 52.2 to 22.5", "uniform, trained alike: infinite to 88.2", "dense, trained alike: 22.25"):
        assert words in told
    assert ("; dense: 22.25" in told) == (dense is not None)
    assert (tmp_path / "recovery.png").exists()
    drawn = (tmp_path / "recovery.svg").read_text()
    for words in ("evolved: 52.2 to 22.5", "Recovery towards the dense model", "gpt2-mini, channels"):
        assert f">{words}<" in drawn


def test_a_model_that_was_never_finite(tmp_path):
    assert "evolved: infinite to infinite" in draw_recovery({"evolved": row(None, None)}, 22.25, tmp_path)


def test_a_divergence_that_decides_is_drawn(tmp_path):
    points = [{"tokens": at, "held_out": 50.0, "held_out_divergence": value} for at, value in ((0, 0.012), (9, 0.0104))]
    told = draw_recovery({"evolved": RecoveredRow.model_construct(curve=points)}, 22.25, tmp_path)
    assert told.startswith("Divergence on held-out windows")
    assert "evolved: 0.012 to 0.0104)" in told
    assert ">divergence on held-out windows<" in (tmp_path / "recovery.svg").read_text()
