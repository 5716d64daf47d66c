"""What is known of a score from its function."""

import pytest

from evoprune import InputError
from evoprune.experiment.registry import plugin
from evoprune.problems.language_model.scores import by_row, find_score, scope_of, source


def plain(weight):
    return weight


def test_scope_and_source_are_known_of_a_function():
    assert (scope_of(plain), scope_of(by_row(lambda weight: weight))) == ("matrix", "row")
    assert "def test_scope_and_source" in source(plain)
    assert source(abs) == ""


def test_a_score_that_asks_for_what_there_is_not_is_refused(tmp_path, monkeypatch):
    (tmp_path / "greedy_scores.py").write_text("def greedy(weight, *, hessian):\n    return weight\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin("greedy_scores")
    with pytest.raises(InputError, match="asks for hessian; the statistics there are: gradient_sizes"):
        find_score("greedy_scores:greedy")
