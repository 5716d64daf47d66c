"""What a finished search leaves, on a small model."""

import math

import pytest

from evoprune import Outcome
from problems.results.report import overfitting, reconstructed
from problems.results.verdict import gap_closed
from tests.problems.small import counted_sparsity, outcome_of, plain_perplexity

BEST = [0.35, 0.45, 0.55]


def test_scores_and_shares_are_of_the_result_and_of_uniform_pruning(pruning, tmp_path):
    problem = pruning(curve=[0.3])
    found = problem.report(outcome_of(problem, BEST), tmp_path)
    session, perplexity = problem.session, found["perplexity"]
    session.transform.apply(BEST)
    texts = {"search": session.texts.search, "held_out": session.texts.held_out, "report": session.texts.report}
    for role, windows in texts.items():
        assert set(perplexity[role]) == {"dense", "uniform", "evolved"}
        assert perplexity[role]["evolved"] == pytest.approx(
            plain_perplexity(session.resident.model, windows.tokens), rel=1e-4
        )
    assert found["sparsity"]["prunable"] == counted_sparsity(session.resident.model)
    assert found["gap_closed"] == gap_closed(**perplexity["report"]) is not None
    assert found["overfitting"] == {
        text: overfitting(perplexity["search"], perplexity[text]) for text in ("held_out", "report")
    }
    assert found["curve"]["sparsity"] == [0.0, 0.3, 0.45]
    assert found["curve"]["report"][-1] == perplexity["report"]["uniform"]
    assert found["unseen"] == perplexity["report"]["evolved"]
    assert found["genes"] == ["block 0", "block 1", "block 2"]


def test_each_figure_is_drawn_and_has_a_sentence(pruning, tmp_path):
    problem = pruning(genes="matrix", scope="row", curve=[0.3])
    found = problem.report(outcome_of(problem, [0.45] * 12), tmp_path)
    assert set(found["figures"]) == {"cliff", "sparsity_by_layer", "sparsity_by_matrix"}
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(found["figures"])
    assert len(found["genes"]) == 12


def test_without_held_out_windows_only_the_report_text_tells_overfitting(pruning, tmp_path):
    problem = pruning(held_out_windows=0)
    found = problem.report(outcome_of(problem, BEST), tmp_path)
    assert set(found["overfitting"]) == {"report"}
    assert found["protocol"]["held_out_text"] is None


def test_a_result_off_the_budget_or_of_a_front_closes_no_gap(pruning, tmp_path):
    problem = pruning()
    assert problem.report(outcome_of(problem, [0.3] * 3), tmp_path)["gap_closed"] is None
    traded = pruning(second_objective="sparsity")
    whole = outcome_of(traded, BEST)
    front = Outcome(BEST, whole.best_evaluation, whole.references, [(BEST, whole.best_evaluation.values)])
    found = traded.report(front, tmp_path)
    assert found["gap_closed"] is None
    assert "front" in found["figures"]


def test_reconstruction_and_allocations_stand_beside_the_search(pruning, tmp_path):
    problem = pruning(score="wanda", reconstruct="sparsegpt", allocations=["erdos_renyi", "global"], curve=[0.3])
    found = problem.report(outcome_of(problem, BEST), tmp_path)
    session, perplexity, allocations = problem.session, found["perplexity"], found["allocations"]
    rebuilt = {"dense": perplexity["report"]["dense"]} | perplexity["report_reconstructed"]
    assert found["gap_closed_reconstructed"] == gap_closed(**rebuilt)
    for mark in ("uniform, reconstructed", "evolved, reconstructed", "erdos_renyi", "global"):
        assert f">{mark}: " in (tmp_path / "cliff.svg").read_text()
    for text, windows in {"search": session.texts.search, "report": session.texts.report}.items():
        session.transform.finalise(BEST)
        evolved = session.fitness.measure.perplexity(windows.tokens)
        assert perplexity[f"{text}_reconstructed"]["evolved"] == evolved != perplexity[text]["evolved"]
        # all blocks of this model are alike
        assert allocations["erdos_renyi"][text] == pytest.approx(perplexity[text]["uniform"], rel=1e-3)
    assert len(allocations["global"]["genome"]) == 3
    assert found["curve"]["sparsity"] == [0.0, 0.3, 0.45]


def test_uniform_is_reconstructed_alike_whatever_the_genes_mean(pruning):
    """A gene for a kind is added to its blocks' sparsity: uniform is not the same number everywhere."""
    found = []
    for genes in ("block", "block_and_kind"):
        problem = pruning(genes=genes, reconstruct="sparsegpt", reconstruct_mask="score")
        uniform = problem.session.transform.uniform(0.3)
        found.append(reconstructed(problem.session, {"uniform": uniform})["report_reconstructed"]["uniform"])
    assert math.isfinite(found[0])
    assert found[0] == pytest.approx(found[1], rel=0.02)
