"""The problem of any transform under any budget, on a small model."""

import pytest

from evoprune.problems.language_model.problem import LanguageModel


def test_fitness_is_perplexity_and_work_is_tokens(language_model):
    problem = language_model()
    whole, half = problem.evaluate([0.3] * 3), problem.evaluate([0.3] * 3, fidelity=0.5)
    assert (whole.work, half.work) == (64, 32)
    assert whole.values != half.values
    assert whole.measures == {"sparsity": pytest.approx(0.3, abs=1e-4)}
    assert problem.labels_of(problem.settings) == ("perplexity (search text)",)


def test_a_share_of_the_weights_may_be_the_budget(language_model):
    problem = language_model(budget={"use": "weights", "removed": 0.45})
    budget = problem.budget
    assert budget.excess([0.45] * 3) == pytest.approx(0, abs=1e-12)
    assert budget.excess([0.4] * 3) > 0 > budget.excess([0.5] * 3)
    assert set(LanguageModel.needs(problem.settings)) == {"repair"}
    without = language_model()
    assert without.budget is None
    assert LanguageModel.needs(without.settings) == {}


def test_the_fingerprint_changes_with_the_weights_and_with_each_text(language_model, small):
    texts = {"search_text": small["search_text"] | {"windows": 3}, "report_text": small["report_text"] | {"windows": 3}}
    before = language_model().fingerprint()
    for role, text in texts.items():
        assert language_model(**{role: text}).fingerprint()[role] != before[role]
    assert language_model(dtype="bfloat16").fingerprint()["weights"] != before["weights"]
    assert set(before) == {"weights", "search_text", "report_text", "held_out_text"}
