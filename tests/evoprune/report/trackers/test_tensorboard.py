"""Event files, read back with TensorBoard's own reader."""

import pytest

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def test_events_tell_what_the_history_tells(run, sphere, evoprune, no_figures):
    answer = run(sphere)
    for _ in range(2):  # the second time replaces the first
        assert evoprune("report", answer.folder, "--tensorboard").code == 0
    events = accumulator.EventAccumulator(str(answer.folder / "tensorboard"))
    events.Reload()
    for name in ("best", "median", "worst"):
        read = {event.step: event.value for event in events.Scalars(f"fitness/{name}")}
        assert read == pytest.approx({line["generation"]: line[name] for line in answer.generations}, rel=1e-6)
    times = [event.wall_time for event in events.Scalars("search/evaluations")]
    assert times == sorted(times)


def test_a_run_without_a_whole_generation_is_refused(run, sphere, evoprune, no_figures):
    folder = run(sphere).folder
    lines = (folder / "history.jsonl").read_text().splitlines(keepends=True)
    (folder / "history.jsonl").write_text("".join(line for line in lines if '"median"' not in line))
    answer = evoprune("report", folder, "--tensorboard")
    assert answer.code == 2
    assert "no generation" in answer.err
    assert not (folder / "tensorboard").exists()
