"""A result is checked, keeps what it does not know, and is written as it was read."""

import math

import pytest
from pydantic import ValidationError

from evoprune.problems.language_model.results.result import LanguageModelResult, gap_closed


def test_a_result_is_written_as_it_was_read(result):
    result["protocol"]["score"] = "wanda by row"
    pairs = {"parameters": (3, 2), "bytes": (6, 4), "bits_per_weight": (16, 16), "joules": (1.5, 1.0)}
    result["cost"] = {unit: dict(zip(("dense", "evolved"), pair, strict=True)) for unit, pair in pairs.items()}
    found = LanguageModelResult.model_validate(result)
    assert found.perplexity.report.uniform is None
    assert found.cost.savings == pytest.approx(dict.fromkeys(("parameters", "bytes", "joules"), 1 / 3))
    assert found.as_json() == result
    assert isinstance(found.as_json()["cost"]["bytes"]["evolved"], int)


@pytest.mark.parametrize(
    ("spoil", "place"),
    [
        (lambda r: r.pop("seed"), ("seed",)),
        (lambda r: r["sparsity"].update(prunable=1.5), ("sparsity", "prunable")),
        (lambda r: r["perplexity"]["report"].pop("evolved"), ("perplexity", "report", "evolved")),
        (lambda r: r["perplexity"]["report"].update(evolved=math.nan), ("perplexity", "report", "evolved")),
        (lambda r: r["protocol"].update(report_text="x"), ("protocol", "report_text")),
    ],
)
def test_what_is_wrong_is_named_by_its_place(result, spoil, place):
    spoil(result)
    with pytest.raises(ValidationError) as found:
        LanguageModelResult.model_validate(result)
    assert [error["loc"] for error in found.value.errors()] == [place]


def test_gap_closed_is_a_share_of_log_perplexity():
    assert gap_closed(dense=20.0, uniform=80.0, evolved=40.0) == pytest.approx(0.5)
    assert gap_closed(dense=20.0, uniform=80.0, evolved=80.0) == 0
    assert gap_closed(dense=20.0, uniform=80.0, evolved=160.0) < 0
    assert gap_closed(dense=20.0, uniform=None, evolved=40.0) is None
    assert gap_closed(dense=20.0, uniform=20.0, evolved=20.0) is None
