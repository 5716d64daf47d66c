"""The model card states what was measured, and no paths of the machine that measured it."""

import pytest
import yaml

from problems.export.card import card
from problems.export.facts import ExportFacts
from problems.export.runtime import lines

SMALLER = {"parameters": {"dense": 200, "evolved": 150}, "bytes": {"dense": 400, "evolved": 300}}
ROUNDED = {"parameters": {"dense": 200, "evolved": 200}, "bytes": {"dense": 400, "evolved": 300}}


@pytest.fixture
def write(facts):
    """The card of a model whose uniform pruning is infinitely bad, with other facts if given."""
    return lambda **changed: card(ExportFacts.read(facts | changed))


def test_a_search_that_gained_nothing_says_so(write):
    assert "found by an evolutionary search" in write()
    text = write(chosen="uniform")
    assert "`uniform`: an evolutionary search with evoprune gained nothing over it" in text
    assert "found by an evolutionary search" not in text


def test_it_states_perplexities_sparsities_and_protocol(write):
    text = write()
    for fact in ("20.5 | - | 30.25", "| 0 | 25.00% |", "| 1 | 37.50% |", "float16", "valid.txt", "nothing was trained"):
        assert fact in text
    assert "/home/me" not in text
    assert "updated by sparsegpt" in write(transform={"reconstruct": "sparsegpt"})


@pytest.mark.parametrize(("ragged", "loads"), [(False, "like any other model"), (True, "evoprune.load(folder)")])
def test_a_smaller_model_is_described_by_its_parameters(write, ragged, loads):
    text = write(cost=SMALLER, ragged=ragged)
    for fact in ("25.0% of its parameters", "has 200 parameters, this model 150", "1,200 bytes", loads):
        assert fact in text
    assert "zero" not in text
    assert yaml.safe_load(text.split("\n---\n")[0])["tags"] == ["pruned", "evoprune"]


@pytest.mark.parametrize(("cost", "tags"), [(SMALLER, ["quantized", "pruned"]), (ROUNDED, ["quantized"])])
def test_a_model_in_types_is_not_called_pruned_for_the_zeros_that_were_rounded(write, cost, tags):
    text = write(cost=cost, types={"Q8_0": 2, "Q4_0": 30})
    assert "(2 Q8_0, 30 Q4_0)" in text
    assert yaml.safe_load(text.split("\n---\n")[0])["tags"] == [*tags, "evoprune"]
    assert "zero" not in text


def test_names_cannot_leave_the_front_matter_or_their_code(write):
    text = write(base_model="a`b: {c}\n---")
    assert yaml.safe_load(text.split("\n---\n")[0])["library_name"] == "transformers"
    assert "# `a'b: {c} ---`, pruned" in text


def test_runtimes_are_compared_with_the_dense_model():
    pair = lambda dense, evolved: {"dense": dense, "evolved": evolved}  # noqa: E731
    found = {"prefill": pair(1000.0, 1500.0), "decode": pair(40.0, 60.0), "peak_bytes": pair(500e6, 400e6)}
    found |= {"file_bytes": pair(0, 300e6), "load_seconds": pair(1.234, 0.617)}
    assert lines(found) == [  # files that are not on this machine have no bytes
        "loading: dense 1.23 s, evolved 0.617 (0.50x)",
        "prefill: dense 1,000 tokens/s, evolved 1,500 (1.50x)",
        "decode: dense 40 tokens/s, evolved 60 (1.50x)",
        "peak memory: dense 500 MB, evolved 400 (0.80x)",
    ]
