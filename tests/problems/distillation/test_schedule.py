"""Steps read all of a text before any of it again, and rates rise and fall."""

import pytest

from problems.distillation.training import evaluated_steps, rate_share, windows_of


@pytest.mark.parametrize(("batch", "available"), [(4, 10), (3, 3), (5, 2), (1, 7)])
def test_each_pass_reads_every_window_once(batch, available):
    read = [place for step in range(2 * available) for place in windows_of(step, batch, available, seed=3)]
    passes = [read[start : start + available] for start in range(0, len(read), available)]
    assert all(sorted(one) == list(range(available)) for one in passes)
    assert available < 3 or len({tuple(one) for one in passes}) > 1


def test_the_seed_decides_the_order():
    assert windows_of(0, 8, 50, 0) == windows_of(0, 8, 50, 0) != windows_of(0, 8, 50, 1)


@pytest.mark.parametrize("steps", [1, 2, 7, 200])
def test_rates_rise_to_the_highest_and_fall(steps):
    shares = [rate_share(step, steps) for step in range(steps)]
    top = shares.index(max(shares))
    assert all(0 < one <= 1 for one in shares)
    assert shares[: top + 1] == sorted(shares[: top + 1])
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert top <= max(1, 0.05 * steps)


@pytest.mark.parametrize(("steps", "count"), [(1, 8), (5, 8), (100, 8), (100, 1)])
def test_measurements_end_with_the_last_step(steps, count):
    found = evaluated_steps(steps, count)
    assert found[-1] == steps
    assert found[0] >= 1
    assert len(found) == min(steps, count)
