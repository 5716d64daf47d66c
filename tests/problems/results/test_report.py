"""What a finished search is worth, in numbers that are worked out by hand here."""

import math
from dataclasses import replace

import pytest

from problems.results.report import on_search_text, overfitting, sparsity
from problems.results.summary import summary
from problems.results.verdict import gap_closed
from tests.problems.small import counted_sparsity, outcome_of, plain_perplexity


def test_gap_closed_is_a_share_of_log_perplexity():
    assert gap_closed(dense=20.0, uniform=80.0, evolved=40.0) == pytest.approx(0.5)
    assert gap_closed(dense=20.0, uniform=80.0, evolved=80.0) == 0
    assert gap_closed(dense=20.0, uniform=80.0, evolved=160.0) < 0
    assert gap_closed(dense=20.0, uniform=None, evolved=40.0) is None
    assert gap_closed(dense=20.0, uniform=20.0, evolved=20.0) is None
    assert math.isclose(gap_closed(dense=25.0, uniform=250.0, evolved=25.0), 1.0)


def test_overfitting_is_the_gain_that_does_not_carry_over():
    searched = {"uniform": 80.0, "evolved": 40.0}
    assert overfitting(searched, {"uniform": 200.0, "evolved": 100.0}) == 0
    assert overfitting(searched, {"uniform": 80.0, "evolved": 80.0}) == pytest.approx(math.log(2))
    assert overfitting(searched, {"uniform": 80.0, "evolved": 20.0}) < 0
    assert overfitting(searched, {"uniform": None, "evolved": 20.0}) is None


def test_perplexities_that_are_the_fitness_are_not_measured_again_and_infinity_is_null(language_model):
    problem = language_model(objective="perplexity")
    found = outcome_of(problem, [0.2, 0.5, 0.3])
    infinite = replace(found, best_evaluation=replace(found.best_evaluation, values=(math.inf,)))
    dense = found.references["dense"][1].values[0]
    assert on_search_text(problem.session, infinite) == {"dense": dense, "evolved": None}


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_the_report_states_perplexities_of_each_text_and_leaves_the_best_in_place(language_model, objective):
    problem = language_model(objective=objective)
    best = [0.2, 0.5, 0.3]
    found = problem.report(outcome_of(problem, best), None)
    model, texts = problem.session.resident.model, problem.session.texts
    assert found["sparsity"]["prunable"] == counted_sparsity(model) > 0
    assert found["sparsity"]["model"] < found["sparsity"]["prunable"]
    for role, windows in (("search", texts.search), ("held_out", texts.held_out), ("report", texts.report)):
        assert found["perplexity"][role]["evolved"] == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
        assert set(found["perplexity"][role]) == {"dense", "evolved"}
    assert found["unseen"] == found["perplexity"]["report"]["evolved"]
    assert found["protocol"]["objective"] == objective


def test_under_a_budget_the_uniform_model_is_reported_beside_the_result(language_model):
    problem = language_model(budget={"use": "weights", "removed": 0.4})
    found = problem.report(outcome_of(problem, [0.2, 0.5, 0.5]), None)
    texts, model = problem.session.texts, problem.session.resident.model
    problem.session.transform.apply([0.4] * 3)
    for role, windows in (("search", texts.search), ("held_out", texts.held_out), ("report", texts.report)):
        assert found["perplexity"][role]["uniform"] == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
    assert found["gap_closed"] == gap_closed(**found["perplexity"]["report"])
    assert set(found["overfitting"]) == {"held_out", "report"}


def test_a_model_whose_transform_updates_weights_is_reported_both_ways(language_model):
    problem = language_model(transforms={"use": "weights", "reconstruct": "sparsegpt"})
    best = [0.5] * 3
    found = problem.report(outcome_of(problem, best), None)
    problem.session.transform.finalise(best)
    model, texts = problem.session.resident.model, problem.session.texts
    for role, windows in (("search", texts.search), ("report", texts.report)):
        updated = found["perplexity"][f"{role}_reconstructed"]["evolved"]
        assert updated == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
        assert updated != found["perplexity"][role]["evolved"]
    assert "reconstructed by sparsegpt: evolved" in summary(found)[-1]


def test_blocks_that_are_gone_count_as_removed(language_model):
    problem = language_model(transforms={"use": "sublayers", "genes": "block"})
    found = problem.report(outcome_of(problem, [0.0, 1.0, 0.0]), None)
    assert found["sparsity"]["prunable"] == pytest.approx(1 / 3)
    assert found["cost"].keys() == {"parameters", "bytes", "bits_per_weight", "operations"}
    assert found["cost"].pop("bits_per_weight") == {"dense": 32, "evolved": 32}
    assert all(amounts["evolved"] < amounts["dense"] for amounts in found["cost"].values())


def test_without_held_out_windows_there_is_no_such_perplexity(language_model):
    problem = language_model(held_out_windows=0)
    found = problem.report(outcome_of(problem, [0.2, 0.5, 0.3]), None)
    assert set(found["perplexity"]) == {"search", "report"}


def test_sparsity_is_that_of_the_model_as_it_stands(session):
    for genome in ([0.0] * 3, [0.5] * 3):
        session.transform.apply(genome)
        assert sparsity(session)["prunable"] == pytest.approx(genome[0], abs=1e-4)
