"""What progress says of the time that is left."""

import pytest

from evoprune.search import progress


@pytest.mark.parametrize(
    ("parts", "budget", "left"),
    [([18], None, "00:54"), ([16, 2], None, "00:54"), ([18], 45.0, "00:09"), ([18], 20.0, "00:00")],
)
def test_what_is_left_counts_all_that_a_generation_scores_or_what_ends_first(monkeypatch, capsys, parts, budget, left):
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    shown = progress.Progress(generations=4, budget=budget, work_unit="evaluations")
    evaluations = 0
    for generation in (0, 1):
        for size in parts:
            shown.begin(generation, size)
            for _ in range(size):
                evaluations, now = evaluations + 1, now + 1.0
                shown.candidate(None, evaluations, float(evaluations))
    shown.generation(1, 3.0)
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"{left} left")
