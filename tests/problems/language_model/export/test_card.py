"""The model card states what was measured, and no paths of the machine that measured it."""

import pytest
import yaml

from evoprune.problems.language_model.export.card import card
from evoprune.problems.language_model.export.facts import ExportFacts

BITS = {"bits_per_weight": {"dense": 16, "evolved": 16}}
SMALLER = {"parameters": {"dense": 200, "evolved": 150}, "bytes": {"dense": 400, "evolved": 300}} | BITS
ROUNDED = {"parameters": {"dense": 200, "evolved": 200}, "bytes": {"dense": 400, "evolved": 300}} | BITS

TYPES = {"Q8_0": 2, "Q4_0": 30}


@pytest.fixture
def write(facts):
    """The card of a model whose uniform pruning is infinitely bad, with other facts if given."""
    return lambda **changed: "\n".join(card(ExportFacts.read(facts | changed)))


def test_a_search_that_gained_nothing_says_so(write):
    assert "found by an evolutionary search" in write()
    text = write(chosen="uniform")
    assert "`uniform`: an evolutionary search with evoprune gained nothing over it" in text
    assert "found by an evolutionary search" not in text
    assert "evolutionary" not in write(evaluations=1)


def test_it_states_perplexities_sparsities_and_protocol_and_no_path(write):
    text = write()
    for fact in ("20.5 | - | 30.25", "float16", "valid.txt"):
        assert fact in text
    assert "/home/me" not in text
    alone = {text: {"dense": 20.5, "evolved": 30.25} for text in ("report", "search")}
    assert "20.5 | 30.25" in write(perplexity=alone)
    assert "uniform" not in write(perplexity=alone).lower()
    assert "least_squares" in write(transform={"reconstruct": "least_squares"})
    assert "evoprune.load(folder)" in write(cost=SMALLER, ragged=True)


@pytest.mark.parametrize(
    ("cost", "types", "tags"),
    [(SMALLER, {}, ["pruned"]), (SMALLER, TYPES, ["quantized", "pruned"]), (ROUNDED, TYPES, ["quantized"])],
)
def test_a_model_is_not_called_pruned_for_the_zeros_that_were_rounded(write, cost, types, tags):
    text = write(cost=cost, types=types)
    assert yaml.safe_load(text.split("\n---\n")[0])["tags"] == [*tags, "evoprune"]
    assert "zero" not in text


def test_a_card_warns_of_a_model_that_is_unusable(write):
    ruined = {text: {"dense": 20.5, "evolved": 83.0} for text in ("report", "search")}
    assert ("UNUSABLE" in write(), "UNUSABLE" in write(perplexity=ruined)) == (False, True)


def test_names_cannot_leave_the_front_matter_or_their_code(write):
    text = write(base_model="a`b: {c}\n---")
    assert yaml.safe_load(text.split("\n---\n")[0])["library_name"] == "transformers"
    assert "# `a'b: {c} ---`, pruned" in text
