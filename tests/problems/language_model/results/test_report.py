"""The report of a finished search, on small models."""

import json
import math

import pytest
import torch

from evoprune.problems.language_model.parts import Report
from evoprune.problems.language_model.problem import Pruning
from evoprune.problems.language_model.results.report import overfitting, perplexities, reconstructed
from evoprune.problems.language_model.results.result import gap_closed
from evoprune.problems.language_model.settings import PruningSettings
from tests.problems.language_model.mixtures import mixture_in
from tests.problems.language_model.small import counted_sparsity, outcome_of, plain_perplexity

BEST = [0.35, 0.45, 0.55]


def texts_of(session):
    texts = session.texts
    return {"search": texts.search, "held_out": texts.held_out, "report": texts.report}


def test_overfitting_is_the_gain_that_does_not_carry_over():
    searched = {"uniform": 80.0, "evolved": 40.0}
    assert overfitting(searched, {"uniform": 200.0, "evolved": 100.0}) == 0
    assert overfitting(searched, {"uniform": 80.0, "evolved": 80.0}) == pytest.approx(math.log(2))
    assert overfitting(searched, {"uniform": 80.0, "evolved": 20.0}) < 0
    assert overfitting(searched, {"uniform": None, "evolved": 20.0}) is None


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_models_are_made_once_for_all_texts_and_known_perplexities_are_not_measured(
    language_model, objective, monkeypatch
):
    problem, made, read = language_model(objective=objective), [], []
    found, session = outcome_of(problem, [0.2, 0.5, 0.3]), problem.session
    apply, totals = session.transform.apply, session.fitness.measure.totals
    monkeypatch.setattr(session.transform, "apply", lambda genome: (made.append(tuple(genome)), apply(genome)))
    monkeypatch.setattr(session.fitness.measure, "totals", lambda *a: (read.append(a[0]), totals(*a))[1])
    texts = texts_of(session)
    asked = {name: (each, ["dense", "evolved"]) for name, each in texts.items()}
    genomes = {"dense": session.transform.dense, "evolved": found.best}
    scores = perplexities(session, genomes, asked)
    assert made.count((0.2, 0.5, 0.3)) == 1
    assert {name: {*each} for name, each in scores.items()} == {name: {"dense", "evolved"} for name in texts}
    assert len(read) == 4  # both models on held-out and report text
    assert perplexities(session, genomes, asked) == scores
    assert len(read) == 4


@pytest.mark.parametrize("objective", ["perplexity", "kl"])
def test_perplexities_of_each_text_are_those_of_the_best_which_stays(language_model, objective, tmp_path):
    problem = language_model(objective=objective)
    found = Report(problem).report(outcome_of(problem, [0.2, 0.5, 0.3]), tmp_path)
    model = problem.session.resident.model
    assert found["sparsity"]["prunable"] == counted_sparsity(model) > found["sparsity"]["model"] > 0
    for role, windows in texts_of(problem.session).items():
        assert found["perplexity"][role]["evolved"] == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
        assert set(found["perplexity"][role]) == {"dense", "evolved"}
    assert found["unseen"] == found["perplexity"]["report"]["evolved"]
    assert found["protocol"]["objective"] == objective


def test_under_a_budget_the_uniform_model_is_reported_beside_the_result(language_model, tmp_path):
    problem = language_model(budget={"use": "weights", "removed": 0.4})
    found = Report(problem).report(outcome_of(problem, [0.2, 0.5, 0.5]), tmp_path)
    model, perplexity = problem.session.resident.model, found["perplexity"]
    problem.session.transform.apply([0.4] * 3)
    for role, windows in texts_of(problem.session).items():
        assert perplexity[role]["uniform"] == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
    assert found["gap_closed"] == gap_closed(**perplexity["report"])
    assert found["gap_closed_search"] == gap_closed(**perplexity["search"])
    assert found["asked"] == {"unit": "weights", "wanted": 0.4, "got": pytest.approx(0.4), "share": True}
    assert found["asked"]["got"] == pytest.approx(found["sparsity"]["prunable"], abs=1e-4)
    text, tokens = found["protocol"]["report_text"], texts_of(problem.session)["report"].tokens
    assert text["bytes"] == sum(len(" ".join(f"w{word}" for word in row[1:])) for row in tokens.tolist())
    for name, value in perplexity["report"].items():
        nats = math.log(value) * tokens[:, 1:].numel()
        assert found["bits_per_byte"][name] == pytest.approx(nats / math.log(2) / text["bytes"])
    assert found["overfitting"] == {
        role: overfitting(perplexity["search"], perplexity[role]) for role in ("held_out", "report")
    }


def test_no_removed_weight_is_a_goal_as_a_share(pruning, tmp_path):
    problem = pruning(sparsity=0.0)
    found = Report(problem).report(outcome_of(problem, [0.0] * 3), tmp_path)
    assert found["asked"] == {"unit": "weights", "wanted": 0.0, "got": 0.0, "share": True}


def test_a_model_whose_transform_updates_weights_is_reported_both_ways(language_model, tmp_path):
    problem = language_model(transforms={"use": "weights", "reconstruct": "least_squares"})
    best = [0.5] * 3
    found = Report(problem).report(outcome_of(problem, best), tmp_path)
    problem.session.transform.finalise(best)
    model, texts = problem.session.resident.model, problem.session.texts
    for role, windows in (("search", texts.search), ("report", texts.report)):
        updated = found["perplexity"][f"{role}_reconstructed"]["evolved"]
        assert updated == pytest.approx(plain_perplexity(model, windows.tokens), rel=1e-4)
        assert updated != found["perplexity"][role]["evolved"]


def test_the_sparsity_of_each_candidate_of_a_mixture_is_of_all_prunable_weights(tmp_path):
    """A quarter of them is in the matrices that are pruned, and the rest in experts."""
    problem = Pruning(PruningSettings(**mixture_in(tmp_path, "mixtral"), sparsity=0.1, curve=(0.2,)))
    best = [0.8, 0.4, 0.0]
    found = Report(problem).report(outcome_of(problem, best), tmp_path)
    assert problem.evaluate(best).measures["sparsity"] == pytest.approx(found["sparsity"]["prunable"])
    assert found["curve"]["sparsity"] == pytest.approx([0.0, 0.05, 0.1], abs=1e-4)


def test_blocks_that_are_gone_count_as_removed(language_model, tmp_path):
    problem = language_model(transforms={"use": "sublayers", "genes": "block"})
    found = Report(problem).report(outcome_of(problem, [0.0, 1.0, 0.0]), tmp_path)
    assert found["sparsity"]["prunable"] == pytest.approx(1 / 3)
    assert found["cost"].keys() == {"parameters", "bytes", "bits_per_weight"}
    assert found["cost"].pop("bits_per_weight") == {"dense": 32, "evolved": 32}
    assert all(amounts["evolved"] < amounts["dense"] for amounts in found["cost"].values())


@pytest.mark.parametrize(
    "transform", [{"use": "heads"}, {"use": "channels", "step": 32}, {"use": "sublayers"}, {"use": "weights"}]
)
def test_each_matrix_states_the_share_of_its_weights_that_it_lost(language_model, tmp_path, transform):
    problem = language_model(transforms=transform)
    sizes = {matrix.name: matrix.size for matrix in problem.session.resident.matrices}
    best = [0.0] * len(problem.genes)
    best[0] = 0.5 if transform["use"] == "weights" else 1.0
    found = Report(problem).report(outcome_of(problem, best), tmp_path)
    gene, lost = problem.genes[0], found["by_matrix"]
    assert found["genes"][gene.name] == (str(gene.levels[1]) if gene.levels else "50.0%")
    removed = sum(lost[name] * size for name, size in sizes.items())
    assert removed / sum(sizes.values()) == pytest.approx(found["sparsity"]["prunable"])
    assert {".".join(name.split(".")[:3]) for name, share in lost.items() if share > 0.1} == {"transformer.h.0"}


def test_the_protocol_states_texts_model_and_what_it_was_computed_with(pruning, tmp_path):
    problem = pruning(score="wanda")
    stated, session = Report(problem).report(outcome_of(problem, BEST), tmp_path)["protocol"], problem.session
    assert json.loads(json.dumps(stated)) == stated
    for role, windows in (texts_of(session) | {"calibration": session.texts.calibration}).items():
        assert stated[f"{role}_text"]["sha256"] == windows.sha256
        assert stated[f"{role}_text"]["windows"] == len(windows.tokens)
    assert stated["threads"] == torch.get_num_threads()
    assert stated["weights_sha256"] == session.resident.weights_sha256
    assert stated["sparsity_denominators"]["prunable"] == sum(m.size for m in session.resident.matrices)
    assert stated["score"] == "wanda by row"


def test_without_held_out_windows_only_the_report_text_tells_overfitting(pruning, tmp_path):
    problem = pruning(held_out_windows=0)
    found = Report(problem).report(outcome_of(problem, BEST), tmp_path)
    assert set(found["perplexity"]) == {"search", "report"}
    assert set(found["overfitting"]) == {"report"}
    assert found["protocol"]["held_out_text"] is None
    assert found["protocol"]["calibration_text"] is None  # magnitudes learn from no text


@pytest.mark.usefixtures("drawn")
def test_reconstruction_is_reported_beside_the_search(pruning, tmp_path):
    problem = pruning(score="wanda", reconstruct="least_squares", curve=[0.3])
    found = Report(problem).report(outcome_of(problem, BEST), tmp_path)
    perplexity = found["perplexity"]
    rebuilt = {"dense": perplexity["report"]["dense"]} | perplexity["report_reconstructed"]
    assert found["gap_closed_reconstructed"] == gap_closed(**rebuilt)
    for mark in ("uniform, reconstructed", "evolved, reconstructed"):
        assert f">{mark}: " in (tmp_path / "cliff.svg").read_text()
    assert found["curve"]["sparsity"] == pytest.approx([0.0, 0.3, 0.45], abs=1e-4)
    assert found["curve"]["report"][-1] == perplexity["report"]["uniform"]


def test_uniform_is_reconstructed_alike_whatever_the_genes_mean(pruning):
    """A gene for a kind is added to its blocks' sparsity: uniform is not the same number everywhere."""
    found = []
    for genes in ("block", "block_and_kind"):
        session = pruning(genes=genes, reconstruct="least_squares").session
        uniform = {"uniform": session.transform.uniform(0.3)}
        found.append(reconstructed(session, uniform)["report_reconstructed"]["uniform"])
    assert math.isfinite(found[0])
    assert found[0] == pytest.approx(found[1], rel=0.02)


def test_the_foreseen_work_is_that_of_the_report(language_model, tmp_path, monkeypatch):
    problem = language_model(budget={"use": "weights", "removed": 0.4})
    found, measure = outcome_of(problem, [0.2, 0.5, 0.5]), problem.session.fitness.measure
    read, totals = [], measure.totals
    monkeypatch.setattr(measure, "totals", lambda *a: (read.append(a[0].numel()), totals(*a))[1])
    Report(problem).report(found, tmp_path)
    assert Report(problem).work() == sum(read)
