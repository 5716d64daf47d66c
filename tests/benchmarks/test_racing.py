"""The replay of a recorded search counts what its benchmark says."""

import pytest

from tests.benchmarks.racing import paired, replayed, saved, sound

FIRST, WORSE, BETTER = [10.0] * 8, [11.0, 12.0] * 4, [9.0, 8.0] * 4
LOSSES = {(1.0,): FIRST, (2.0,): WORSE, (3.0,): BETTER}


def line(genome: float, fidelity: float = 1.0, memo: bool = False) -> dict:
    return {"candidate": 0, "genome": [genome], "memo": memo, "fidelity": fidelity}


HISTORY = [line(1.0), {"generation": 0}, line(2.0, 0.25), line(3.0, 0.25), line(2.0), line(3.0), {"generation": 1}]


def test_windows_are_counted_and_rivals_are_of_the_generations_before():
    found = replayed([*HISTORY, line(3.0, memo=True), line(3.0, 0.125)], LOSSES)
    assert (found["windows"], found["again"]) == (8 + 2 + 2 + 8 + 8 + 1, 2 + 2 + 1)
    assert found["races"] == [{"losses": WORSE, "rival": FIRST}, {"losses": BETTER, "rival": FIRST}]


def test_what_is_behind_is_dropped_after_half_and_what_is_ahead_never():
    search = replayed(HISTORY, LOSSES)
    assert saved(search, paired(1.0, [4])) == (pytest.approx(4 / search["windows"]), 0)
    assert saved(search, paired(1e6, [4])) == (0, 0)


def test_a_winner_that_starts_badly_is_lost_by_the_paired_test_but_not_by_the_sound_one():
    search = {"windows": 8, "races": [{"losses": [11, 12, 11, 12, 0, 0, 0, 0], "rival": FIRST}]}
    assert saved(search, paired(1.0, [4])) == (0.5, 1)
    assert saved(search, sound) == (0, 0)


def test_the_sound_bound_drops_when_the_sum_so_far_is_above_all_of_the_rivals():
    search = {"windows": 8, "races": [{"losses": [30.0] * 8, "rival": FIRST}]}
    assert saved(search, sound) == (5 / 8, 0)
