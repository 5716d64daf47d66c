"""The clock of the command prune."""

import pytest

from evoprune.problems.language_model.prune import clock
from evoprune.problems.language_model.prune.clock import Clock


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still but for work."""
    times = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: times[0])
    return times


@pytest.mark.parametrize(("share", "last"), [(0.0, 1), (0.02, 1), (0.03, 2), (0.07, 4), (0.14, 4), (0.15, 8), (1.0, 8)])
def test_a_phase_doubles_while_the_next_step_fits_into_its_share(now, share, last):
    worked = []

    def work(value):
        worked.append(value)
        now[0] += value

    own = Clock(100.0)
    assert own.doubled(share, [1, 2, 4, 8], work) == last
    assert worked == [value for value in (1, 2, 4, 8) if value <= last]
    assert own.left == 100.0 - sum(worked)
    assert sum(worked) <= max(share * 100.0, 1)
