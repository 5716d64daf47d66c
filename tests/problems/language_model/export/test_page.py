"""The parts of a run's page: a model beside others, and maps of its matrices."""

from itertools import product

import pytest

from evoprune.problems.language_model.export.facts import ExportFacts, StoredMatrix
from evoprune.problems.language_model.export.page import comparison, maps
from evoprune.problems.language_model.results.result import LanguageModelResult

COST = {
    "parameters": {"dense": 4_000_000, "evolved": 3_000_000},
    "bytes": {"dense": 8_000_000, "evolved": 6_000_000},
    "bits_per_weight": {"dense": 16, "evolved": 16},
}
PREDICTIONS = {
    "error": 0.1, "median": 0.1, "p99": 0.4, "p999": 0.1, "largest": 0.1, "same_top": 0.875, "same_top_error": 0.004,
    "probability_change": 0.1, "behind": 0.2, "behind_error": 0.01,
}  # fmt: skip
MEASURED = {"perplexity": 2.0, "bits_per_byte": 1.5, "divergence": 0.2, "predictions": PREDICTIONS}
SOURCE = MEASURED | {"name": "a.gguf", "bytes": 2_000_000, "bits_per_byte": 1.0}
PRESET = MEASURED | {"name": "Q3_K_M", "bytes": 1_000_000, "bits_per_byte": 1.25}


@pytest.fixture
def matrices():
    """Of two blocks, one of them narrower, and an embedding; two types have as many bits."""
    shapes = {"attn_q": (64, 64), "ffn_up": (96, 64)}
    found = {
        f"blk.{block}.{kind}.weight": {"rows": rows, "width": width, "type": "Q4_0", "bits": 4.5}
        for block, (kind, (rows, width)) in product(range(2), shapes.items())
    }
    found["blk.1.ffn_up.weight"] |= {"rows": 32, "type": "IQ4_NL"}
    return found | {"token_embd.weight": {"rows": 256, "width": 64, "type": "Q8_0", "bits": 8.5}}


def cells(block):
    """The words of a table by row and column."""
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
    return {name: dict(zip(head[1:], words, strict=True)) for name, *words in rows}


def test_a_map_has_a_cell_for_each_matrix_in_the_colour_of_its_bits(facts, matrices):
    (found,) = maps(ExportFacts.read(facts | {"matrices": matrices}))
    assert list(found.rows) == ["0", "1"]
    assert found.columns == ["attn_q", "ffn_up"]
    assert found.whole == {"token_embd": ("Q8_0", 1.0)}
    assert found.rows["1"] == {"attn_q": ("Q4_0", 0.0), "ffn_up": ("IQ4_NL 32 x 64", 0.0)}
    stored = map(StoredMatrix.model_validate, matrices.values())
    weights = dict.fromkeys(("IQ4_NL", "Q4_0", "Q8_0"), 0)
    for matrix in stored:
        weights[matrix.type] += matrix.rows * matrix.width
    shares = [f"{kind}: {bits} bits, {weights[kind] / sum(weights.values()):.1%}"
              for kind, bits in zip(weights, (4.5, 4.5, 8.5), strict=True)]  # fmt: skip
    assert list(found.key) == shares


def test_a_pruned_model_has_a_map_of_the_shares_that_its_matrices_lost(result):
    by_matrix = {"h.0.attn.q": 0.25, "h.0.mlp.up": 0.5, "h.1.attn.q": 1.0}
    (found,) = maps(LanguageModelResult.model_validate(result | {"by_matrix": by_matrix}))
    assert found.rows == {"0": {"attn.q": ("25%", 1.0), "mlp.up": ("50%", pytest.approx(2 / 3))},
                          "1": {"attn.q": ("100%", 0.0)}}  # fmt: skip
    assert not [*maps(LanguageModelResult.model_validate(result | {"by_matrix": dict.fromkeys(by_matrix, 0.0)}))]


@pytest.mark.parametrize("source", [SOURCE, None])
def test_a_file_stands_beside_preset_and_source_with_its_loss_and_error(facts, matrices, source):
    measured = facts | {"matrices": matrices, "source": source, "preset": PRESET if source else None, "cost": COST}
    measured |= {"check": facts["check"] | MEASURED, "bytes": 1_500_000, "bits_per_weight": 4.0}
    source_name = "dense, a.gguf" if source else "source"  # the model is a folder
    measured["protocol"] = facts["protocol"] | {"source_bytes": 2_000_000}
    found = cells(next(comparison(ExportFacts.read(measured))))
    assert found["size"]["this file"] == "1.5 MB"
    assert found["bits a weight"] | {"llama.cpp's Q3_K_M": "2.00"} == {
        "this file": "4.00", "llama.cpp's Q3_K_M": "2.00", source_name: "4.00"
    }  # fmt: skip
    value, error = map(float, found["bits per byte behind the source"]["this file"].split(" ± "))
    assert (value, error) == (pytest.approx(0.2 * 1.5 / 0.6931, rel=1e-2), pytest.approx(0.01 * 1.5 / 0.6931, rel=3e-2))
    assert found["same top token"]["this file"] == "87.5% ± 0.4%"
    mean, error = map(float, found["divergence, nats a token"]["this file"].split(" ± "))
    table = measured["check"]["predictions"]
    assert (mean, error) == pytest.approx((measured["check"]["divergence"], table["error"]), rel=1e-2)
    assert float(found["divergence, 99%"]["this file"]) == pytest.approx(table["p99"], rel=1e-2)


def test_a_pruned_model_stands_beside_the_uniform_and_the_dense_one(result):
    table, terms = comparison(LanguageModelResult.model_validate(result | {"cost": COST}))
    found = cells(table)
    assert found["weights"] == {"this model": "6.0 MB", "uniform": "", "dense": "8.0 MB"}
    assert found["perplexity"]["this model"] == "30.25"
    assert "Uniform: " in terms
    assert f"{result['protocol']['report_text']['predictions']:,} tokens" in terms
