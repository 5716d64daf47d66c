"""The parts of a run's page: a model beside others, and maps of its matrices."""

import pytest

from evoprune.problems.language_model.export.page import comparison, maps
from evoprune.problems.language_model.results.result import LanguageModelResult

COST = {
    "parameters": {"dense": 4_000_000, "evolved": 3_000_000},
    "bytes": {"dense": 8_000_000, "evolved": 6_000_000},
    "bits_per_weight": {"dense": 16, "evolved": 16},
}


def cells(block):
    """The words of a table by row and column."""
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
    return {name: dict(zip(head[1:], words, strict=True)) for name, *words in rows}


def test_a_pruned_model_has_a_map_of_the_shares_that_its_matrices_lost(result):
    by_matrix = {"h.0.attn.q": 0.25, "h.0.mlp.up": 0.5, "h.1.attn.q": 1.0}
    (found,) = maps(LanguageModelResult.model_validate(result | {"by_matrix": by_matrix}))
    assert found.rows == {"0": {"attn.q": ("25%", 1.0), "mlp.up": ("50%", pytest.approx(2 / 3))},
                          "1": {"attn.q": ("100%", 0.0)}}  # fmt: skip
    assert not [*maps(LanguageModelResult.model_validate(result | {"by_matrix": dict.fromkeys(by_matrix, 0.0)}))]


def test_a_pruned_model_stands_beside_the_uniform_and_the_dense_one(result):
    table, terms = comparison(LanguageModelResult.model_validate(result | {"cost": COST}))
    found = cells(table)
    assert found["weights"] == {"this model": "6.0 MB", "uniform": "", "dense": "8.0 MB"}
    assert found["perplexity"]["this model"] == "30.25"
    assert "Uniform: " in terms
    assert f"{result['protocol']['report_text']['predictions']:,} tokens" in terms
