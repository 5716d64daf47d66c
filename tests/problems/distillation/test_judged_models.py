"""The result is the best of the search's own and the known solutions, as they are exported, on held-out windows."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from evoprune.cli import main
from evoprune.testing import check_problem
from tests.problems.small import plain_perplexity, weights_of
from tests.runs import lines, result

HALF = {"use": "weights", "removed": 0.5}


@pytest.mark.parametrize("reconstruct", ["none", "least_squares"])
def test_a_finalist_is_judged_by_its_final_model_on_windows_that_the_search_does_not_see(pruning, reconstruct):
    problem = pruning(reconstruct=reconstruct, allocations=["global"])
    check_problem(problem, trials=1)
    session, genome = problem.session, [0.6, 0.3, 0.45]
    before = weights_of(session.resident.model)
    judged = problem.judge(genome)
    assert all(map(torch.equal, before, weights_of(session.resident.model)))
    session.transform.finalise(genome)
    held_out = session.texts.held_out.tokens
    assert judged.values[0] == pytest.approx(plain_perplexity(session.resident.model, held_out), rel=1e-4)
    assert judged.work == problem.judging_cost == 0


def test_who_takes_part(language_model, pruning):
    assert (language_model().finalists, language_model().contenders) == (0, {})
    within = language_model(budget=HALF)
    assert (within.finalists, within.contenders) == (1, {"uniform": within.references()["uniform"]})
    assert language_model(budget=HALF, held_out_windows=0).finalists == 0
    assert pruning(curve=(0.3, 0.6)).contenders == {"uniform": [0.45] * 3}
    assert set(pruning(allocations=["global"]).contenders) == {"uniform", "global"}
    assert pruning(second_objective="sparsity").finalists == 0
    assert pruning(sparsity=0.0).finalists == 0


@pytest.fixture
def run(small, tmp_path):
    """Runs a search that scores ``candidates`` random models under a budget; returns its folder."""

    def call(name, candidates, *options, **problem):
        given = small | {"use": "pruning", "sparsity": 0.3, "curve": [], "initial_genomes": []} | problem
        algorithm = {"use": "random_search"}
        spec = {"problem": given, "population": candidates, "generations": 0}
        spec["operators"] = {"repair": "shift", "algorithm": algorithm}
        (tmp_path / "experiment.yaml").write_text(json.dumps(spec))
        told = ["--runs-dir", str(tmp_path), "--name", name, *options]
        assert main(["run", str(tmp_path / "experiment.yaml"), *told]) == 0
        return tmp_path / name

    return call


def test_a_search_that_gains_nothing_gives_the_uniform_model_and_says_so(run, capsys, tmp_path):
    folder = run("worse", 2, initial_spread=0.3)  # of two genomes far from uniform, none is as good
    found, out = result(folder), capsys.readouterr().out
    judged = {name: row["judged"] for name, row in found["finalists"].items()}
    assert min(judged, key=judged.get) == "uniform"
    assert found["chosen"] == "uniform"
    assert found["best"]["genome"] == [0.3] * 3
    assert found["perplexity"]["report"]["evolved"] == found["perplexity"]["report"]["uniform"]
    first = out.splitlines()[0]
    assert first.startswith("30.0% of the weights removed: perplexity ")
    assert first.endswith("The search gained nothing over uniform here; the result is the uniform model.")
    assert "; uniform won" in out
    assert main(["report", str(folder)]) == 0
    assert first in (folder / "report.md").read_text()
    assert main(["export", str(folder), str(tmp_path / "pruned"), "--untimed"]) == 0
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    assert [round(float((block.mlp.c_fc.weight == 0).float().mean()), 2) for block in model.transformer.h] == [0.3] * 3


def test_the_evolved_model_wins_where_held_out_windows_say_so(run, capsys):
    folder = run("better", 30, initial_spread=0.1)
    found, out = result(folder), capsys.readouterr().out
    judged = {name: row["judged"] for name, row in found["finalists"].items()}
    (ours,) = set(judged) - {"uniform"}
    assert judged[ours] < judged["uniform"]
    assert (found["chosen"], ours) == ("evolved", f"candidate {found['best']['candidate']}")
    assert found["perplexity"]["held_out"]["evolved"] == pytest.approx(judged[ours])
    assert [line["finalist"] for line in lines(folder) if "finalist" in line] == [found["best"]["candidate"], "uniform"]
    assert f"{ours} won" in out
