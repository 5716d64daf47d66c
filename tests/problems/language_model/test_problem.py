"""The problem of any transform under any budget, on a small model."""

import math

import pytest

from problems.language_model.problem import LanguageModel, LanguageModelSettings


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
    assert language_model().budget is None


def test_the_held_out_value_is_on_windows_that_the_search_does_not_see(language_model):
    problem = language_model()
    texts = problem.session.texts
    assert not set(texts.held_out.places) & set(texts.search.places)
    assert problem.held_out_value([0.3] * 3) == problem.session.fitness.perplexity([0.3] * 3, texts.held_out.tokens)
    assert language_model(held_out_windows=0).held_out_value([0.3] * 3) is None


def test_the_reference_is_the_dense_model(language_model):
    problem = language_model(objective="kl")
    assert problem.evaluate(problem.references()["dense"]).values[0] == pytest.approx(0, abs=1e-6)
    assert problem.genes.allow(problem.references()["dense"])


@pytest.mark.parametrize(
    ("transforms", "removed"),
    [("weights", 0.3), ({"use": "sublayers", "genes": "block"}, 0.3), ("sublayers", 0.6), ("heads", 0.2)],
)
def test_the_uniform_reference_takes_the_least_equal_share_that_keeps_the_budget(language_model, transforms, removed):
    problem = language_model(transforms=transforms, budget={"use": "weights", "removed": removed})
    uniform, budget = problem.references()["uniform"], problem.budget
    assert budget.excess(uniform) <= 1e-12
    less = [budget.excess(problem.session.transform.uniform(share / 1000)) > 0 for share in range(1001)]
    assert budget.excess(uniform) >= budget.excess(problem.session.transform.uniform(less.index(False) / 1000)) - 1e-6
    assert "uniform" not in language_model().references()


def test_the_fingerprint_changes_with_the_weights_and_with_each_text(language_model, small):
    texts = {"search_text": small["search_text"] | {"windows": 3}, "report_text": small["report_text"] | {"windows": 3}}
    before = language_model().fingerprint()
    for role, text in texts.items():
        assert language_model(**{role: text}).fingerprint()[role] != before[role]
    assert language_model(dtype="bfloat16").fingerprint()["weights"] != before["weights"]
    assert set(before) == {"weights", "search_text", "report_text", "held_out_text"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"transforms": "weihgts"}, "did you mean 'weights'"),
        ({"transforms": "weights", "budget": {"use": "wieghts", "removed": 0.5}}, "did you mean 'weights'"),
        ({"transforms": {"use": "weights", "scroe": "wanda"}}, "scroe"),
        ({"transforms": "weights", "budget": {"use": "weights", "removed": 2}}, "removed"),
        ({"transforms": []}, "transforms: expected at least one"),
    ],
)
def test_a_wrong_name_or_parameter_is_told(given, message):
    with pytest.raises(ValueError, match=message):
        LanguageModelSettings(**given)


def test_all_faults_are_told_in_one_line():
    with pytest.raises(ValueError, match=r"transforms\.kep: .*; budget\.removed: ") as found:
        LanguageModelSettings(transforms={"use": "sublayers", "kep": 1}, budget={"use": "weights", "removed": 2})
    assert "\n" not in found.value.errors()[0]["msg"]


def test_a_budget_needs_a_repair():
    with_budget = LanguageModelSettings(transforms="weights", budget={"use": "weights", "removed": 0.5})
    assert set(LanguageModel.needs(with_budget)) == {"repair"}
    assert LanguageModel.needs(LanguageModelSettings(transforms="weights")) == {}


def test_a_run_is_described_by_model_weights_genes_and_device(language_model, small):
    weights = 3 * 12 * 64 * 64
    assert language_model().describe() == f"{small['model']}, {weights:,} prunable weights, 3 genes, float32 on cpu"


def test_the_same_genome_has_the_same_score_after_any_other(language_model):
    problem = language_model()
    before = problem.evaluate([0.1, 0.5, 0.2]).values
    for genome in ([0.0] * 3, [0.1, 0.5, 0.9], [0.1, 0.5, 0.2]):
        last = problem.evaluate(genome).values
    assert last == before
    assert math.isfinite(before[0])
