from pathlib import Path

import pytest
import torch

from evoprune.problems.language_model.export import runtime


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_processes")
def test_the_memory_of_a_model_is_that_of_a_process_of_its_own(session, small, monkeypatch):
    fresh = runtime._in_fresh_process

    def smaller_alone(what, job, timeout):  # each takes seconds to begin
        return fresh(what, job, timeout) if "smaller" in what else runtime.main(job)

    monkeypatch.setattr(runtime, "_in_fresh_process", smaller_alone)
    held = torch.ones(2**27)  # 512 MiB, which a new process has nothing of
    found = runtime.benchmark(session, "float32", Path(small["model"]))
    assert min(found[phase][name] for phase in ("prefill", "decode") for name in ("dense", "evolved")) > 0
    of_process, of_this = (found["peak_bytes"][name] for name in ("evolved", "dense"))
    assert 0 < of_process < of_this - held.nbytes / 2


@pytest.mark.usefixtures("fresh_processes")
def test_processes_end_with_the_time_for_them(session, small):
    assert runtime.benchmark(session, "float32", Path(small["model"]), timeout=0.01) is None
