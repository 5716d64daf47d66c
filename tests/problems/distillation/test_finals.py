"""Finalists are judged as a recovery measures them, by what the search and the report do not read."""

import json
import shutil

import pytest
import torch

from evoprune.cli import main
from evoprune.testing import check_problem
from problems.distillation.recover import recover
from problems.distillation.settings import RecoverSettings
from problems.distillation.text import recovery_text
from problems.results.final_model import FinalModel
from tests.problems.small import plain_perplexity, weights_of
from tests.runs import lines, result

RECOVER = {"tokens": 1024, "held_out": 4, "evaluations": 4, "rate": 0.001}
SUBLAYERS = {"transforms": "sublayers", "budget": {"use": "parameters", "removed": 0.3}}


@pytest.fixture
def finals(language_model):
    """A problem of sublayers whose finals train on so many tokens."""

    def make(tokens, **settings):
        return language_model(**SUBLAYERS, recover=RECOVER | {"select": {"finalists": 3, "tokens": tokens}} | settings)

    return make


@pytest.mark.parametrize("tokens", [0, 200])
def test_the_contract(finals, tokens):
    problem = finals(tokens)
    check_problem(problem, trials=1)
    genome = problem.references()["uniform"]
    before = weights_of(problem.session.resident.model)
    assert problem.judge(genome).work == problem.judging_cost == (4 * 256 + 2 * 128 if tokens else 128)
    assert all(map(torch.equal, before, weights_of(problem.session.resident.model)))
    assert "report" not in vars(problem.session.texts)


def test_without_training_it_is_the_perplexity_of_the_final_model(pruning):
    select = {"finalists": 2, "tokens": 0}
    problem = pruning(reconstruct="least_squares", recover=RECOVER | {"select": select})
    genome, session = problem.references()["uniform 45%"], problem.session
    found = problem.judge(genome).values[0]
    session.transform.finalise(genome)
    held_out = session.recovery_text.held_out
    assert found == pytest.approx(plain_perplexity(session.resident.model, held_out), rel=1e-4)
    session.transform.apply(genome)
    assert found != pytest.approx(plain_perplexity(session.resident.model, held_out), rel=1e-3)


def test_with_training_it_is_what_a_recovery_of_that_length_measures(finals, tmp_path):
    problem = finals(200)
    genome, session = problem.references()["uniform"], problem.session
    settings = RecoverSettings(**RECOVER | {"tokens": 200, "evaluations": 1})
    curve = recover(FinalModel(session, genome), {}, settings, session.recovery_text, tmp_path / "r").rows["evolved"][
        "curve"
    ]
    judged = problem.judge(genome)
    assert judged.values == (curve[-1]["held_out"],)
    assert judged.measures == {"held_out_before": curve[0]["held_out"]}
    assert curve[-1]["held_out"] != curve[0]["held_out"]


@pytest.mark.parametrize("tokens", [0, 200])
def test_where_nothing_of_the_text_is_learned_it_is_the_divergence(finals, tmp_path, tokens):
    problem = finals(tokens, cross_entropy=0)
    genome, session = problem.references()["uniform"], problem.session
    settings = RecoverSettings(**RECOVER | {"cross_entropy": 0, "tokens": 200, "evaluations": 1})
    curve = recover(FinalModel(session, genome), {}, settings, session.recovery_text, tmp_path / "r").rows["evolved"][
        "curve"
    ]
    before, after = (point["held_out_divergence"] for point in curve)
    judged = problem.judge(genome)
    assert judged.values == (pytest.approx(after if tokens else before, rel=1e-4),)
    assert judged.measures == {"held_out_before": pytest.approx(before, rel=1e-4)}
    assert before != pytest.approx(after, rel=1e-3)


def test_low_rank_updates_are_a_part_of_what_is_quantised_and_judged(language_model, tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("llama_cpp_py_sync")
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    recipe = RECOVER | {"train": "lora", "tokens": 200, "evaluations": 1}
    problem = language_model(
        transforms=[{"use": "sublayers", "genes": "block"}, types],
        recover=recipe | {"select": {"finalists": 2, "tokens": 200}},
    )
    genome, session = [gene.up * (place != 0) for place, gene in enumerate(problem.genes)], problem.session
    judged = problem.judge(genome)
    assert problem.judge(genome) == judged  # whatever was drawn before
    text = session.recovery_text
    recovered = recover(FinalModel(session, genome), {}, RecoverSettings(**recipe), text, tmp_path / "r")
    assert recovered.helped
    model = FinalModel(session, genome, recovered.weights).copy().model
    assert judged.values[0] == pytest.approx(plain_perplexity(model, text.held_out), rel=1e-4)


def test_a_recovery_that_helps_only_before_quantising_did_not_help(language_model, tmp_path, monkeypatch):
    pytest.importorskip("llama_cpp_py_sync")
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    problem = language_model(transforms=[{"use": "sublayers", "genes": "block"}, types])
    genome, session = [gene.up * (place != 0) for place, gene in enumerate(problem.genes)], problem.session
    encode, models = session.transform.encode, []

    def spoilt_when_trained(model, genome):
        found = encode(model, genome)
        models.append(model)
        if len(models) > 1:
            model.get_input_embeddings().weight.data.mul_(-3)
        return found

    monkeypatch.setattr(session.transform, "encode", spoilt_when_trained)
    settings = RecoverSettings(**RECOVER | {"tokens": 200})
    text = recovery_text(settings, session.resident, session.texts.search, session.texts.report.settings)
    row = recover(FinalModel(session, genome), {}, settings, text, tmp_path / "r").rows["evolved"]
    assert row["curve"][-1]["held_out"] < row["curve"][0]["held_out"]
    assert not row["helped"]
    assert row["decided"][1] > row["decided"][0]
    assert row["perplexity_after"] == row["perplexity_before"]


@pytest.fixture
def run(small, tmp_path):
    """Runs a search of several generations, with finals; returns its folder."""
    select = {"finalists": 3, "tokens": 256}
    problem = small | SUBLAYERS | {"use": "language_model", "recover": RECOVER | {"select": select}}
    spec = {"problem": problem, "population": 6, "generations": 2, "operators": {"repair": "shift"}}
    (tmp_path / "experiment.yaml").write_text(json.dumps(spec))

    def call(name, *options):
        told = ["--runs-dir", str(tmp_path), "--name", name, *options]
        assert main(["run", str(tmp_path / "experiment.yaml"), *told]) == 0
        return tmp_path / name

    return call


def test_a_run_recovers_the_winner_and_goes_on_in_the_middle_of_its_finals(run, tmp_path, capsys):
    whole = run("whole")
    assert "finals, perplexity on held-out windows" in capsys.readouterr().out
    found = result(whole)
    judged = {line["finalist"]: line for line in lines(whole) if "finalist" in line}
    assert len(judged) == 3
    winner = min(judged, key=lambda number: judged[number]["fitness"])
    assert found["best"]["candidate"] == winner
    before = found["recovered"]["evolved"]["curve"][0]["held_out"]
    assert judged[winner]["measures"] == {"held_out_before": before}
    cut = shutil.copytree(whole, tmp_path / "cut")
    (cut / "result.json").unlink()
    history = (whole / "history.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "history.jsonl").write_bytes(b"".join(history[:-2]) + history[-2][:30])
    assert main(["resume", str(cut)]) == 0
    assert lines(cut) == lines(whole)
    assert (cut / "history.jsonl").read_bytes().startswith(b"".join(history[:-2]))
    assert _without_minutes(result(cut)) == _without_minutes(found)


@pytest.mark.slow
def test_workers_judge_alike(run):
    one, two = run("one", "--threads", "1"), run("two", "-n", "2", "--threads", "1")
    assert lines(one) == lines(two)
    assert _without_minutes(result(one)) == _without_minutes(result(two))


def _without_minutes(found):
    for row in found["recovered"].values():
        del row["minutes"]
    return found
