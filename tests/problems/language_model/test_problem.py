"""The problem of any transform under any budget, on a small model."""

import pytest

from evoprune.problems.language_model.parts import Machine
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


def test_objectives_beside_the_score_are_the_amounts_of_budgets(language_model):
    times = {"use": "milliseconds", "length": 16, "seconds": 0.0}
    problem = language_model(transforms=["heads", "channels"], trade_offs=["bytes", times])
    problem.use_measurements(Machine(problem).take_measurements())
    genome = [2.0, 0.0, 1.0, 0.0, 2.0, 3.0]
    found, dense = (problem.evaluate(each).values for each in (genome, problem.session.transform.dense))
    assert problem.labels_of(problem.settings)[1:] == ("bytes", "milliseconds")
    assert problem.signs == (-1.0,) * 3
    assert list(found[1:]) == [budget.spent(genome) for budget in problem.limits.trade_offs]
    assert found[0] != dense[0]
    assert found[1] < dense[1]
    assert found[2] <= dense[2]
    assert problem.budget is None
    assert problem.needs(problem.settings) == {}
    assert problem.genes.allow(problem.random_genome())
    assert problem.session.transform.dense in problem.initial_genomes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"trade_offs": ["bytes", "bytes"]},
        {"trade_offs": ["milliseconds", "milliseconds"]},
        {"trade_offs": ["bytes"], "budget": {"use": "bytes", "removed": 0.5}},
        {"trade_offs": [{"use": "bytes", "most": 3}]},
    ],
)
def test_trade_offs_that_cannot_be_told_apart_or_kept_are_refused(language_model, wrong):
    with pytest.raises(ValueError, match="trade_offs"):
        language_model(transforms="channels", **wrong)
