"""The result is the best of the search's own and the known solutions, as they are exported, on held-out windows."""

import json

import pytest
import torch

from evoprune.cli import main
from evoprune.problems.language_model.baselines import Baselines
from evoprune.problems.language_model.parts import Judge
from evoprune.problems.language_model.transforms.weights import genes
from evoprune.testing import check_problem
from tests.problems.language_model.small import plain_perplexity, weights_of
from tests.runs import lines, result


def judge(problem, genome):
    """The judgement of ``genome``; the model is dense before and after."""
    check_problem(problem, trials=1)
    before = weights_of(problem.session.resident.model)
    judged = Judge(problem).judge(genome)
    assert all(map(torch.equal, before, weights_of(problem.session.resident.model)))
    return judged


@pytest.mark.parametrize("reconstruct", ["none", "least_squares"])
def test_it_is_the_perplexity_of_the_final_model(pruning, reconstruct):
    problem = pruning(reconstruct=reconstruct)
    session, genome = problem.session, [0.6, 0.3, 0.45]
    judged = judge(problem, genome)
    session.transform.finalise(genome)
    expected = plain_perplexity(session.resident.model, session.texts.held_out.tokens)
    assert judged == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def run(small, tmp_path):
    """Runs a search; returns its folder."""

    def call(name, problem, population, generations=0, algorithm="random_search"):
        spec = {"problem": small | problem, "population": population, "generations": generations}
        spec["operators"] = {"repair": "shift", "algorithm": algorithm}
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        assert main(["run", str(tmp_path / "experiment.yaml"), "--runs-dir", str(tmp_path), "--name", name]) == 0
        return tmp_path / name

    return call


PRUNING = {"use": "pruning", "sparsity": 0.3, "curve": []}


@pytest.mark.parametrize(("spread", "candidates", "chosen"), [(0.3, 2, "uniform"), (0.1, 30, "evolved")])
def test_the_best_on_held_out_windows_is_the_result(run, spread, candidates, chosen, monkeypatch):
    monkeypatch.setattr(Baselines, "initial_genomes", lambda _: [])
    monkeypatch.setattr(genes, "_SPREAD", spread)
    folder = run("run", PRUNING, candidates)
    found = result(folder)
    judged = {name: row["judged"] for name, row in found["finalists"].items()}
    (ours,) = set(judged) - {"uniform"}
    winner = ours if chosen == "evolved" else "uniform"
    assert (found["chosen"], min(judged, key=judged.get)) == (chosen, winner)
    assert (found["best"]["genome"] == [0.3] * 3) == (chosen == "uniform")
    assert found["perplexity"]["held_out"]["evolved"] == pytest.approx(judged[winner])
    assert len([line for line in lines(folder) if "finalist" in line]) == 2
