"""A training is decided by its seed and settings, whatever it has of time and memory."""

import math
import time
from functools import cache

import numpy
import pytest

from evoprune.problems.language_model.distillation.training import (
    Training,
    batch_windows,
    is_evaluation_step,
    lr_schedule,
)
from tests.problems.language_model.recoveries import recovered, stop_at_step_5


@pytest.mark.parametrize(("batch", "available"), [(4, 10), (3, 3), (5, 2), (1, 7)])
def test_each_pass_reads_every_window_once_in_an_order_of_its_own(batch, available):
    read = [window for step in range(2 * available) for window in batch_windows(step, batch, available, seed=3)]
    passes = numpy.reshape(read, (-1, available))
    assert (numpy.sort(passes) == numpy.arange(available)).all()
    assert available < 3 or len(numpy.unique(passes, axis=0)) > 1
    assert batch_windows(0, 8, 50, 0) == batch_windows(0, 8, 50, 0) != batch_windows(0, 8, 50, 1)


@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_rates_rise_to_the_highest_and_fall(steps):
    shares = [lr_schedule(step, steps) for step in range(steps)]
    top = shares.index(max(shares))
    assert all(0 < one <= 1 for one in shares)
    assert shares == [*sorted(shares[:top]), *sorted(shares[top:], reverse=True)]
    assert top <= max(1, 0.05 * steps)


@pytest.mark.parametrize(("steps", "count"), [(1, 8), (5, 8), (100, 8), (100, 1)])
def test_measurements_are_spread_and_end_with_the_last_step(steps, count):
    found = due(lambda _: steps, count)
    assert (found[-1], len(found)) == (steps, min(steps, count))
    gaps = numpy.diff([0, *found])
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("later", [4, 5, 8, 40])
def test_a_change_of_the_number_of_steps_adds_no_measurement(count, later):
    found = due(lambda measured: 6 if measured == 1 else later, count)
    assert found[-1] == later
    assert len(found) <= count


def due(steps, count):
    """The steps after which windows are measured; ``steps``: their number, after so many measurements."""
    found, step = [], 0
    while step < steps(1 + len(found)):
        step += 1
        if is_evaluation_step(step, steps(1 + len(found)), 1 + len(found), count):
            found.append(step)
    return found


@pytest.fixture(scope="module")
def curve(smaller_run, tmp_path_factory):
    """Perplexity on held-out windows, by the settings; each is trained once."""

    @cache
    def of(**settings):
        rows = recovered(smaller_run, tmp_path_factory.mktemp("recovery"), **settings).rows
        return [point["held_out"] for point in rows["evolved"].curve]

    return of


def test_a_time_becomes_tokens_once_for_all(smaller_run, tmp_path, monkeypatch):
    def three(training, step, other):
        return 3 - training.progress.step if hasattr(training, "progress") else 3

    monkeypatch.setattr(Training, "_steps_within", three)
    rows = recovered(smaller_run, tmp_path, ["dense"], tokens=None, time="1m").rows
    assert [row.curve[-1]["tokens"] for row in rows.values()] == [3 * 128, 3 * 128]


def test_a_training_that_gets_slower_or_faster_has_other_steps_and_ends_with_a_measurement(
    smaller_run, tmp_path, monkeypatch
):
    for more, steps in ((0, [3]), (2, [3, 4, 5])):
        left = iter([9, more, 1])
        monkeypatch.setattr(Training, "_steps_within", lambda *_, left=left: next(left))
        (row,) = recovered(smaller_run, tmp_path / str(more), [], tokens=None, time="1m", evaluations=3).rows.values()
        assert [point["tokens"] for point in row.curve] == [128 * step for step in [0, *steps]]
    own = {"tokens": None, "schedule": row.schedule, "evaluations": 3}
    (again,) = recovered(smaller_run, tmp_path / "again", [], **own).rows.values()
    assert again.curve == row.curve


def test_an_interrupted_training_whose_time_is_over_ends_at_its_checkpoint(smaller_run, tmp_path, monkeypatch):
    left, settings = iter([9, 6, 0]), {"tokens": None, "evaluations": 3}
    monkeypatch.setattr(Training, "_steps_within", lambda *_: next(left))
    with monkeypatch.context() as patched:
        stop_at_step_5(patched, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            recovered(smaller_run, tmp_path / "run", [], time="1m", **settings)
    (row,) = recovered(smaller_run, tmp_path / "run", [], time="1m", **settings).rows.values()
    assert [point["tokens"] for point in row.curve] == [0, 3 * 128]
    (again,) = recovered(smaller_run, tmp_path / "again", [], schedule=row.schedule, **settings).rows.values()
    assert again.curve == row.curve


def test_measuring_the_speed_changes_nothing(curve, monkeypatch):
    plan = Training._planned

    def eight(training, measuring):
        training._end = time.perf_counter() + 60
        assert plan(training, measuring) > 0
        training._end = math.inf
        return 8

    expected = curve()
    monkeypatch.setattr(Training, "_planned", eight)
    assert curve(seed=0) == expected
