import pytest

from problems.results.summary import summary


@pytest.mark.parametrize(
    ("uniform", "closed", "fragments"),
    [(13024.6, 0.78, ["uniform 13,025", "45.0%", "(78% of the gap closed)"]), (None, None, ["uniform infinite"])],
    ids=["finite", "infinite"],
)
def test_report_text_in_a_line_with_or_without_a_finite_gap(uniform, closed, fragments):
    three = {"dense": 48.123, "uniform": uniform, "evolved": 161.0}
    result = {"sparsity": {"prunable": 0.45}, "perplexity": {"report": three}, "gap_closed": closed}
    _, line = summary(result)
    assert all(fragment in line for fragment in ["dense 48.12", "evolved 161", *fragments])
    assert ("gap" in line) == (closed is not None)
    cost = {"bits_per_weight": {"dense": 16.3, "evolved": 4.996}, "bytes": {"dense": 9_002_560, "evolved": 2_752_000}}
    _, line = summary(result | {"cost": cost})
    assert "in 2,752,000 bytes" in line
    result["perplexity"]["report_reconstructed"] = {"uniform": uniform, "evolved": 60.0}
    _, _, updated = summary(result | {"protocol": {"reconstruct": "sparsegpt"}})
    assert "sparsegpt" in updated
    assert "evolved 60" in updated
