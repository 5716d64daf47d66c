"""Shares of the time, and windows that fit into them."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from evoprune.problems.language_model.prune import time_plan
from evoprune.problems.language_model.prune.time_plan import TimePlan
from evoprune.problems.language_model.texts.division import Division, parts_of

PARTS = parts_of(None)


def plan_of(seconds, token, tokens=2**15):
    """Of a text with windows of 512 tokens."""
    call = SimpleNamespace(asked=SimpleNamespace(seconds=seconds), left=seconds)
    return TimePlan(call, Division(PARTS, dict.fromkeys(PARTS, tokens), 512, ""), token)


def test_the_report_has_long_windows_and_its_time_first_whatever_is_left_to_the_search():
    fast, slow = (replace(plan_of(600.0, token), runtime_token=token).setup(4) for token in (1e-9, 0.006))
    assert slow["search"]["window"] < fast["search"]["window"] == slow["report"]["window"]
    assert slow["report"] == fast["report"]
    assert plan_of(600.0, 0.05).setup(4)["report"]["windows"] < fast["report"]["windows"]


@pytest.mark.parametrize("token", [0.003, 0.0045])
def test_a_report_of_2000_tokens_comes_before_candidates_and_slower_types(token):
    own = plan_of(120.0, token)
    assert own.setup(4)["report"]["windows"] * 512 >= 2000
    assert own.quantising < replace(own, token=token / 10).quantising
    compared = replace(own, token=token / 10, comparing=60.0)
    assert compared.quantising < replace(compared, comparing=0.0).quantising


def test_the_time_of_the_runtime_counts_where_it_is_known():
    slow, fast = (replace(plan_of(600.0, 0.006), runtime_token=token) for token in (1.0, 1e-9))
    assert slow.reported < fast.reported


def test_time_that_a_training_cannot_use_goes_to_the_search(monkeypatch):
    own, seconds = plan_of(600.0, 0.02), []
    vars(own)["reported"] = 1
    for tokens in (1000, 5000):
        monkeypatch.setattr(time_plan, "_LEAST_TRAINED", tokens)
        seconds.append(own.searching(trains=True))
    search, longer_search = seconds
    assert own.reading + search + time_plan.TRAINING_COST * 1000 * own.token < 600
    assert search < longer_search <= 600 - own.reading
    assert search < own.searching(trains=False) < 600


@pytest.mark.parametrize(("left", "token"), [(600.0, 1e-9), (90.0, 0.02), (-5.0, 1e-9)])
def test_types_have_some_time_and_leave_the_report_its_own(left, token):
    own = plan_of(600.0, token)
    own.call.left = left
    assert 0 < own.quantising <= max(60, left - own.reading)


@pytest.mark.parametrize(("share", "last"), [(0.0, 4), (0.12, 8), (0.29, 16), (0.6, 32), (1.0, 32)])
def test_calibration_doubles_while_the_next_step_fits_into_its_share(monkeypatch, share, last):
    now, worked = [0.0], []
    monkeypatch.setattr(time_plan, "_CALIBRATING", share)
    monkeypatch.setattr(time_plan.time, "monotonic", lambda: now[0])

    def work(windows):
        worked.append(windows)
        now[0] += windows

    assert plan_of(100.0, 1e-9, tokens=512 * 40).calibrated(work) == last
    assert worked == [windows for windows in (4, 8, 16, 32) if windows <= last]
    assert sum(worked) <= max(share * 100.0, 4)


def test_nothing_is_timed_for_an_experiment_that_is_printed():
    whole, short = plan_of(100.0, 1e-9), plan_of(100.0, 1e-9)
    assert whole.calibrated(None) == 16
    short = replace(short, text=replace(short.text, tokens=dict.fromkeys(PARTS, 512 * 9)))
    assert short.calibrated(None) == 8
