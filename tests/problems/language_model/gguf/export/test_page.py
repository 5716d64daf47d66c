"""A .gguf file in a run's page: beside its source and a preset, and as a map of types."""

from itertools import product

import pytest

from evoprune.problems.language_model.gguf.export.facts import GgufFacts, StoredMatrix
from evoprune.problems.language_model.gguf.export.page import comparison, types_map
from tests.problems.language_model.export.test_page import COST, cells

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


def test_a_map_has_a_cell_for_each_matrix_in_the_colour_of_its_bits(facts, matrices):
    found = types_map(GgufFacts.read(facts | {"matrices": matrices}).matrices)
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


@pytest.mark.parametrize("source", [SOURCE, None])
def test_a_file_stands_beside_preset_and_source_with_its_loss_and_error(facts, matrices, source):
    measured = facts | {"matrices": matrices, "source": source, "preset": PRESET if source else None, "cost": COST}
    measured |= {"check": facts["check"] | MEASURED, "bytes": 1_500_000, "bits_per_weight": 4.0}
    source_name = "dense, a.gguf" if source else "source"  # the model is a folder
    measured["protocol"] = facts["protocol"] | {"source_bytes": 2_000_000}
    name = "llama-quantize with the same importance: Q3_K_M"
    found = cells(next(comparison(GgufFacts.read(measured))))
    assert found["size"]["this file"] == "1.5 MB"
    assert found["bits a weight"] | {name: "2.00"} == {
        "this file": "4.00", name: "2.00", source_name: "4.00"
    }  # fmt: skip
    value, error = map(float, found["bits per byte behind the source"]["this file"].split(" ± "))
    assert (value, error) == (pytest.approx(0.2 * 1.5 / 0.6931, rel=1e-2), pytest.approx(0.01 * 1.5 / 0.6931, rel=3e-2))
    assert found["same top token"]["this file"] == "87.5% ± 0.4%"
    mean, error = map(float, found["divergence, nats a token"]["this file"].split(" ± "))
    table = measured["check"]["predictions"]
    assert (mean, error) == pytest.approx((measured["check"]["divergence"], table["error"]), rel=1e-2)
    assert float(found["divergence, 99%, nats"]["this file"]) == pytest.approx(table["p99"], rel=1e-2)
