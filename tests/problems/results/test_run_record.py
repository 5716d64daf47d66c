"""What an export relies on in a run's result is checked, and the rest is let be."""

import pytest

from evoprune import InputError
from problems.results.run_record import run_record


def test_a_result_is_read_with_what_is_not_checked_of_its_protocol(result):
    result["protocol"]["scores"] = {"mlp": "wanda by row"}
    record = run_record(result)
    assert record.perplexity.report.uniform is None
    assert record.protocol.model_extra["scores"] == {"mlp": "wanda by row"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r.pop("seed"), "seed: Field required"),
        (lambda r: r["sparsity"].update(prunable=1.5), "sparsity.prunable: "),
        (lambda r: r["perplexity"]["report"].pop("evolved"), "perplexity.report.evolved: Field required"),
        (lambda r: r["perplexity"]["report"].update(evolved=float("nan")), "perplexity.report.evolved: "),
        (lambda r: r["protocol"].update(report_text="x"), "protocol.report_text: "),
        (lambda r: r["protocol"]["report_text"].update(window=1), "protocol.report_text.window: "),
    ],
)
def test_what_is_wrong_is_named_by_its_place(result, spoil, message):
    spoil(result)
    with pytest.raises(InputError, match=f"result.json.*{message}"):
        run_record(result)
