"""The model card states what was measured, and no paths of the machine that measured it."""

import pytest
import yaml

from problems.export.card import card
from problems.results.run_record import run_record


@pytest.fixture
def facts():
    of_matrix = {"zeros": 10, "weights": 40, "sparsity": 0.25}
    return {
        "base_model": "owner/name",
        "dtype": "float16",
        "transform": {"reconstruct": "none"},
        "sparsity": {
            "prunable": 0.25,
            "model": 0.2,
            "denominators": {"prunable": 120, "model": 150},
            "matrices": {
                "a": of_matrix | {"block": 0},
                "b": of_matrix | {"block": 1},
                "c": of_matrix | {"block": 1, "zeros": 20},
            },
        },
        "check": {"perplexity": 30.5, "tolerance": 0.02},
        "ragged": False,
        "bytes": 1200,
    }


def test_the_card_says_what_a_search_gained_nothing_over(result, facts):
    assert "found by an evolutionary search" in card(run_record(result), facts)
    text = card(run_record(result | {"chosen": "uniform"}), facts | {"chosen": "uniform"})
    assert "How much each layer loses is `uniform`: an evolutionary search with evoprune gained nothing over it" in text
    assert "found by an evolutionary search" not in text


def test_the_card_states_perplexities_sparsities_and_protocol(result, facts):
    text = card(run_record(result), facts)
    assert "20.5 | - | 30.25" in text
    assert "| 0 | 25.00% |" in text
    assert "| 1 | 37.50% |" in text
    assert "these files hold float16" in text
    assert "valid.txt" in text
    assert "/home/me" not in text
    assert "nothing was trained" in text


@pytest.mark.parametrize(("ragged", "loads"), [(False, "like any other model"), (True, "evoprune.load(folder)")])
def test_a_smaller_model_is_told_by_its_parameters(result, facts, ragged, loads):
    cost = {"parameters": {"dense": 200, "evolved": 150}, "bytes": {"dense": 400, "evolved": 300}}
    text = card(run_record(result | {"cost": cost}), facts | {"ragged": ragged})
    assert "with 25.0% of its parameters removed" in text
    assert "has 200 parameters, this model 150; its files of weights have 1,200 bytes" in text
    assert loads in text
    assert "zero" not in text
    assert yaml.safe_load(text.split("\n---\n")[0])["tags"] == ["pruned", "evoprune"]


@pytest.mark.parametrize("cut", [False, True])
def test_a_model_in_types_is_not_called_pruned_for_the_zeros_that_were_rounded(result, facts, cut):
    cost = {"parameters": {"dense": 200, "evolved": 150 if cut else 200}, "bytes": {"dense": 400, "evolved": 300}}
    text = card(run_record(result | {"cost": cost}), facts | {"types": {"Q8_0": 2, "Q4_0": 30}})
    assert "Matrices have the values that GGUF types hold (2 Q8_0, 30 Q4_0), here in float16" in text
    assert yaml.safe_load(text.split("\n---\n")[0])["tags"] == ["quantized", *["pruned"] * cut, "evoprune"]
    assert "zero" not in text
    assert "pruned to" not in text


def test_an_update_of_the_remaining_weights_is_told(result, facts):
    facts["transform"]["reconstruct"] = "sparsegpt"
    assert "the remaining weights were updated by sparsegpt" in card(run_record(result), facts)


def test_the_front_matter_is_yaml_and_names_cannot_leave_it_or_their_code(result, facts):
    facts["base_model"] = "a`b: {c}\n---"
    text = card(run_record(result), facts)
    head = yaml.safe_load(text.split("\n---\n")[0])
    assert head["library_name"] == "transformers"
    assert "# `a'b: {c} ---`, pruned" in text
