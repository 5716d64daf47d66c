"""Models with types are timed as files in llama.cpp."""

from __future__ import annotations

import pytest
import torch

from evoprune import InputError, Stopped
from evoprune.testing import check_budget
from problems.budgets.latency_table import compared
from problems.budgets.latency_terms import timer_of
from problems.budgets.milliseconds import Milliseconds
from problems.gguf import ggml, runtime
from problems.gguf.base import find_base
from problems.gguf.write import contents
from problems.language_model.problem import LanguageModel, LanguageModelSettings
from problems.models.device import processor_name
from problems.models.throughput import Load
from problems.transforms.encoding import encoded
from tests.problems.gguf.models import base_of, random_gpt2

pytest.importorskip("llama_cpp_py_sync")

DECODE = Load("decode", length=16)


@pytest.fixture(scope="module")
def transform():
    """Two types for each matrix of the bundled model, which needs no base file."""
    text = {"source": "bundled:python-docs", "window": 64, "split": "validation", "windows": 2}
    types = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
    given = {"dtype": "float32", "device": "cpu", "search_text": text, "transforms": types}
    return LanguageModel(LanguageModelSettings(**given)).session.transform


def test_all_matrices_are_alike_to_a_type(transform):
    assert timer_of(transform, DECODE).alike() == [transform.genes.free]


def test_files_that_are_timed_hold_the_types_of_their_genomes(transform):
    clock, genome = timer_of(transform, DECODE), [gene.up for gene in transform.genes]
    assert all(milliseconds > 0 for pair in clock.rounds(genome, 0.0) for milliseconds in pair)
    base = find_base(transform.resident)
    for name, timed in {"dense": transform.dense, "other": genome}.items():
        transform.apply(timed)
        expected = contents(transform.resident.model, base, encoded(transform)).bytes
        assert clock._written(timed, name).stat().st_size == expected


def test_times_are_of_the_processor_that_llama_cpp_runs_on_whatever_the_search_has(transform, monkeypatch):
    monkeypatch.setattr(type(transform.resident), "device", torch.device("cuda"))
    found = timer_of(transform, DECODE).circumstances()
    assert (found["device"], found["processor"]) == ("cpu", processor_name(torch.device("cpu")))
    assert found["version"] == ggml.version()


def test_a_file_that_cannot_be_written_is_told_with_its_place(transform):
    clock = timer_of(transform, DECODE)
    clock._folder.cleanup()
    with pytest.raises(Stopped, match=r"cannot write .*dense\.gguf: No such file.* set TMPDIR"):
        list(clock.rounds(transform.dense, 0.0))


def test_a_prompt_may_have_all_positions(tmp_path):
    path = tmp_path / "tiny.gguf"
    model = random_gpt2()
    contents(model, base_of(model), {}).write(path)
    most = model.config.n_positions
    assert runtime.milliseconds([path], Load("prefill", length=most), 0.0)[0] > 0
    with pytest.raises(InputError, match=f"llama.cpp has room for {most} tokens"):
        runtime.milliseconds([path], Load("prefill", length=most + 1), 0.0)


def test_more_tokens_than_positions_and_several_sequences_are_refused(transform):
    with pytest.raises(InputError, match=r"problem\.budget\.length: llama\.cpp has room for \d+ tokens"):
        compared(transform, transform.dense, Load("prefill", length=100_000), 0.0)
    with pytest.raises(InputError, match=r"problem\.budget\.batch: llama\.cpp is timed with one sequence"):
        timer_of(transform, Load("decode", batch=2))


@pytest.mark.slow
def test_a_budget_of_milliseconds_is_of_llama_cpp(transform):
    asked = Milliseconds(speedup=1.0001, length=16, seconds=0.0)
    found = asked.measure(transform)
    assert found["runtime"] == "llama.cpp"
    faster = found | {"genes": {name: dict.fromkeys(levels, 0.0) | {"Q8_0": -0.01, "Q4_0": -0.02}
                                for name, levels in found["genes"].items()}}  # fmt: skip
    budget = asked.budget(transform, faster)
    check_budget(budget)
    assert budget.of == "a token (decode, batch 1, 16 tokens before) in llama.cpp"
    with pytest.raises(InputError, match=r"measured with runtime transformers, this run has llama\.cpp"):
        asked.budget(transform, faster | {"runtime": "transformers"})
    with pytest.raises(InputError, match="measured with version another, this run has"):
        asked.budget(transform, faster | {"version": "another"})
