"""Models with types are timed as files in llama.cpp."""

from __future__ import annotations

import pytest

from evoprune import InputError
from evoprune.problems.language_model.budgets.latency import compare_latency
from evoprune.problems.language_model.budgets.milliseconds import Milliseconds
from evoprune.problems.language_model.gguf.base import find_base
from evoprune.problems.language_model.gguf.write import contents
from evoprune.problems.language_model.models.throughput import Load
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.testing import check_budget
from tests.problems.language_model.small import problem_in

DECODE = Load("decode", length=16)


@pytest.fixture(scope="module")
def transform():
    """Two types for each matrix of the bundled model, which needs no base file."""
    text = {"source": "bundled:python-docs", "window": 64, "split": "validation", "windows": 2}
    types = {"use": "types", "types": ["Q8_0", "Q4_0"], "importance": False}
    given = {"dtype": "float32", "device": "cpu", "search_text": text, "transforms": types}
    return LanguageModel(LanguageModelSettings(**given)).session.transform


def test_files_that_are_timed_hold_the_types_of_their_genomes(transform):
    timer, genome = transform.costs.timer(DECODE), [gene.up for gene in transform.genes]
    assert timer.gene_classes() == [transform.genes.free]
    assert all(milliseconds > 0 for pair in timer.rounds(genome, 0.0) for milliseconds in pair)
    base = find_base(transform.resident)
    for name, timed in {"dense": transform.dense, "other": genome}.items():
        transform.apply(timed)
        expected = contents(transform.resident.model, base, transform.encoded()).bytes
        assert timer._written(timed, name).stat().st_size == expected


def test_more_tokens_than_positions_and_several_sequences_are_refused(transform):
    with pytest.raises(InputError, match=r"problem\.budget\.length"):
        compare_latency(transform, transform.dense, Load("prefill", length=100_000), 0.0)
    with pytest.raises(InputError, match=r"problem\.budget\.batch"):
        transform.costs.timer(Load("decode", batch=2))


@pytest.mark.slow
def test_a_budget_of_milliseconds_is_of_llama_cpp(transform):
    asked = Milliseconds(speedup=1.0001, length=16, seconds=0.0)
    found = asked.measure(transform)
    assert found["circumstances"]["runtime"] == "llama.cpp"
    times = {name: dict.fromkeys(own, 0.0) | {"Q8_0": -0.01, "Q4_0": -0.02} for name, own in found["genes"].items()}
    budget = asked.budget(transform, found | {"genes": times})
    check_budget(budget)
    assert budget.description.endswith("in llama.cpp")


@pytest.mark.parametrize(("architecture", "in_decoding", "in_reading"), [("llama", [0], [0, -1]), ("gpt2", [], [0])])
def test_matrices_of_which_a_pass_reads_some_rows_are_not_timed(
    language_model, architecture, in_decoding, in_reading, tmp_path
):
    given = problem_in(tmp_path, architecture) | {
        "transforms": {"use": "types", "types": ["Q8_0"], "importance": False}
    }
    transform = language_model(**given).session.transform
    for phase, idle in {"decode": in_decoding, "prefill": in_reading}.items():
        every = list(range(len(transform.genes)))
        timed = sorted({*every} - {every[place] for place in idle})
        assert transform.costs.timer(Load(phase, length=16)).gene_classes() == [timed]
