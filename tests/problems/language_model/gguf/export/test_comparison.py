"""Comparisons are optional: an export is complete without time or room for them."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf import runtime
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.export import comparison
from evoprune.problems.language_model.gguf.export.comparison import Comparison, Mixture
from evoprune.problems.language_model.models import memory
from tests.problems.language_model.gguf.models import write_model

BUFFERS = runtime._BUFFERS
CHECK = {"peak_bytes": 1, "load_seconds": 1.0}


@pytest.fixture
def compare(problem_on, tmp_path):
    """Makes the comparison of a file with ``seconds`` left, if a score takes ``scoring``."""
    session = problem_on("llama", {"use": "types", "types": ["Q8_0"]}).session
    place = write_model(session.resident.model, tmp_path / "small.gguf")

    def made(seconds: float = math.inf, scoring: float = 0.01) -> Comparison:
        base, deadline = find_base(session.resident), time.monotonic() + seconds
        return Comparison(session, base, None, place, timed=True, deadline=deadline, scoring=scoring)

    return made


@pytest.fixture
def processes(monkeypatch):
    """The models and the timeout of each process of llama.cpp that runs or makes a file."""
    run, begun = runtime._run, []

    def recorded(job, timeout=math.inf, script="llama.py"):
        if "models" in job or "preset" in job:
            begun.append((len(job.get("models", [])), timeout))
        return run(job, timeout, script)

    monkeypatch.setattr(runtime, "_run", recorded)
    return begun


@pytest.mark.parametrize("room", ["none", "one file"])
def test_a_comparison_without_room_is_left_out(room, compare, processes, monkeypatch):
    compared = compare()
    free = BUFFERS + (1.5 * compared.place.stat().st_size if room == "one file" else -1)
    monkeypatch.setattr(memory, "free_memory", lambda _: free)
    facts = compared.facts(CHECK, preset=True)
    assert facts["runtime"] is None
    assert (facts["source"] is None) == (facts["preset"] is None) == (room == "none")
    assert ("no_preset" in facts and "GB" in str(facts["no_preset"])) == (room == "none")
    assert [models for models, _ in processes] == ([0] if room == "none" else [0, 1, 1])


def test_nothing_is_timed_after_a_source_that_cannot_be_scored(compare, processes, monkeypatch):
    monkeypatch.setattr(comparison, "measure_file", lambda *_, **__: {"failure": "was not run"})
    assert compare().facts(CHECK, preset=False) == {"source": None, "preset": None, "runtime": None}
    assert not processes


def test_without_time_for_a_score_no_source_is_written(compare, processes, monkeypatch):
    monkeypatch.setattr(comparison, "contents", None)
    facts = compare(0.0).facts(CHECK, preset=True)
    assert facts == {"source": None, "preset": None, "runtime": None, "no_preset": "no time"}
    assert not processes


def test_each_process_ends_before_the_deadline(compare, processes):
    facts = compare(1000.0).facts(CHECK, preset=True)
    assert facts["runtime"]
    assert facts["preset"]["speed"] > 0
    assert [models for models, _ in processes] == [0, 1, 2, 1, 2, 2, 2]
    assert all(0 < timeout < 1000 for _, timeout in processes)


def test_a_preset_whose_choice_took_all_the_time_is_not_made(compare, processes, monkeypatch):
    late = 0.0

    def chosen(*_):
        nonlocal late
        late = 1000.0
        return Mixture("Q4_0", "Q4_0", {})

    monkeypatch.setattr(comparison, "same_size", chosen)
    monkeypatch.setattr(comparison, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late))
    compared = compare(900.0)
    assert compared.facts(CHECK, preset=True)["no_preset"] == "no time"
    assert not processes
