"""The result is the best of the search's own and the known solutions, as they are exported, on held-out windows."""

import json
import shutil

import pytest
import torch

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.distillation.loss import divergence
from evoprune.problems.language_model.distillation.targets import DenseModel
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.texts.text_splits import in_common
from evoprune.testing import check_problem
from tests.problems.language_model.recoveries import recover_with
from tests.problems.language_model.small import CHOICES, plain_perplexity, weights_of
from tests.runs import lines, result

HALF = {"use": "weights", "removed": 0.5}
SUBLAYERS = {"transforms": "sublayers", "budget": {"use": "parameters", "removed": 0.3}}
RECOVER = {"tokens": 1024, "held_out": 4, "evaluations": 4, "rate": 0.001}


@pytest.fixture
def finals(language_model):
    """A problem of sublayers whose finals train on so many tokens."""

    def make(tokens, **settings):
        recover = RECOVER | {"select": {"finalists": 3, "tokens": tokens}} | settings
        return language_model(**SUBLAYERS | {"recover": recover})

    return make


def judge(problem, genome):
    """The judgement of ``genome``; the model is dense before and after, and no report text is scored or trained on."""
    check_problem(problem, trials=1)
    before = weights_of(problem.session.resident.model)
    judged = problem.judge(genome)
    assert all(map(torch.equal, before, weights_of(problem.session.resident.model)))
    if problem.recovery:
        assert not in_common(problem.recovery_text.whole, problem.session.texts.report).any()
    assert judged.work == problem.judging_cost
    return judged


def test_who_takes_part(language_model, pruning):
    assert (language_model().finalists, language_model().contenders) == (0, {})
    within = language_model(budget=HALF)
    assert (within.finalists, within.contenders) == (1, {"uniform": within.references()["uniform"]})
    assert language_model(budget=HALF, held_out_windows=0).finalists == 0
    assert pruning(curve=(0.3, 0.6)).contenders == {"uniform": [0.45] * 3}
    assert set(pruning(allocations=["global"]).contenders) == {"uniform", "global"}
    assert pruning(trade_offs=["weights"]).finalists == 0
    assert pruning(sparsity=0.0).finalists == 0


@pytest.mark.parametrize("reconstruct", ["none", "least_squares"])
@pytest.mark.parametrize("select", [False, True])
def test_without_training_it_is_the_perplexity_of_the_final_model(pruning, reconstruct, select):
    recover = RECOVER | {"select": {"finalists": 2, "tokens": 0}} if select else None
    problem = pruning(reconstruct=reconstruct, recover=recover)
    session, genome = problem.session, [0.6, 0.3, 0.45]
    judged = judge(problem, genome)
    held_out = problem.recovery_text.held_out if select else session.texts.held_out.tokens
    session.transform.finalise(genome)
    assert judged.values[0] == pytest.approx(plain_perplexity(session.resident.model, held_out), rel=1e-4)
    assert judged.work == (128 if select else 0)


def test_with_training_it_is_what_a_recovery_of_that_length_measures(finals, tmp_path):
    problem = finals(200)
    genome = problem.references()["uniform"]
    judged = judge(problem, genome)
    rows = recover_with(FinalModel(problem.session, genome), tmp_path, tokens=200, evaluations=1).rows
    before, after = (point["held_out"] for point in rows["evolved"].curve)
    assert (judged.values, judged.measures) == ((after,), {"held_out_before": before})
    assert judged.work == 4 * 256 + 2 * 128
    assert before != after


@pytest.mark.parametrize("tokens", [0, 200])
def test_if_nothing_of_the_text_is_learned_it_is_the_divergence(finals, tmp_path, tokens):
    problem = finals(tokens, cross_entropy=0)
    genome, session = problem.references()["uniform"], problem.session
    judged, final = problem.judge(genome), FinalModel(session, genome)
    if tokens:
        rows = recover_with(final, tmp_path, cross_entropy=0, tokens=tokens, evaluations=1).rows
        before, after = (point["held_out_divergence"] for point in rows["evolved"].curve)
        assert before != after
    else:  # measured in float32 on any processor, and not as training computes
        model = final.copy().model
        session.transform.apply(session.transform.dense)
        dense, held_out = DenseModel(session.resident.model), problem.recovery_text.held_out
        before = after = divergence(Forward(model), dense, held_out)[0]
    assert judged.values == (pytest.approx(after, rel=1e-5),)
    assert judged.measures == {"held_out_before": pytest.approx(before, rel=1e-5)}


@pytest.mark.parametrize("tokens", [0, 200])
def test_tasks_may_judge_them(finals, harness_task, tmp_path, tokens):
    select = {"finalists": 2, "tokens": tokens, "tasks": "of_my_own", "include_path": str(harness_task)}
    problem = finals(tokens, select=select)
    genome, session = problem.references()["uniform"], problem.session
    problem.fingerprint()
    judged, final = judge(problem, genome), FinalModel(session, genome)
    if tokens:
        final = FinalModel(session, genome, recover_with(final, tmp_path / "it", tokens=200, evaluations=1).weights)
    model, tokenizer = final.copy().model, session.resident.tokenizer
    session.transform.apply(session.transform.dense)
    wrong = 0
    for context, choices, right in CHOICES:
        ids = tokenizer(context, return_tensors="pt", add_special_tokens=False)["input_ids"]
        answers = [tokenizer(choice, add_special_tokens=False)["input_ids"][-1] for choice in choices]
        wrong += int(model(ids).logits[0, -1, answers].argmax()) != right
    assert judged.values == (pytest.approx(wrong / len(CHOICES)),)


def test_unknown_tasks_are_refused_before_the_search(finals, harness_task):
    with pytest.raises(InputError, match="nobodys"):
        finals(0, select={"tasks": "nobodys", "include_path": str(harness_task)}).fingerprint()


def test_low_rank_updates_are_judged_as_they_are_quantised(language_model, tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("llama_cpp_py_sync")
    types = {"use": "types", "types": ["Q4_0"], "importance": False}
    recover = RECOVER | {"train": "lora", "select": {"finalists": 2, "tokens": 200}}
    problem = language_model(transforms=[{"use": "sublayers", "genes": "block"}, types], recover=recover)
    genome = [gene.up * (place != 0) for place, gene in enumerate(problem.genes)]
    judged, final = problem.judge(genome), FinalModel(problem.session, genome)
    recovered = recover_with(final, tmp_path, train="lora", tokens=200, evaluations=1)
    model = FinalModel(problem.session, genome, recovered.weights).copy().model
    assert judged.values[0] == pytest.approx(plain_perplexity(model, problem.recovery_text.held_out), rel=1e-4)


def test_workers_judge_alike(finals):
    """Two workers, each with a problem of its own and other genomes before."""
    problem, *pool = (finals(200) for _ in range(3))
    genomes = [problem.references()["uniform"], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]
    alone = [problem.judge(genome) for genome in genomes]
    assert [pool[place % 2].judge(genomes[place]) for place in (2, 1, 0)] == alone[::-1]


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


PRUNING = {"use": "pruning", "sparsity": 0.3, "curve": [], "initial_genomes": []}


@pytest.mark.parametrize(("spread", "candidates", "chosen"), [(0.3, 2, "uniform"), (0.1, 30, "evolved")])
def test_the_best_on_held_out_windows_is_the_result(run, spread, candidates, chosen):
    folder = run("run", PRUNING | {"initial_spread": spread}, candidates)
    found = result(folder)
    judged = {name: row["judged"] for name, row in found["finalists"].items()}
    (ours,) = set(judged) - {"uniform"}
    winner = ours if chosen == "evolved" else "uniform"
    assert (found["chosen"], min(judged, key=judged.get)) == (chosen, winner)
    assert (found["best"]["genome"] == [0.3] * 3) == (chosen == "uniform")
    assert found["perplexity"]["held_out"]["evolved"] == pytest.approx(judged[winner])
    assert len([line for line in lines(folder) if "finalist" in line]) == 2


SELECTED = SUBLAYERS | {"use": "language_model", "recover": RECOVER | {"select": {"finalists": 3, "tokens": 256}}}


def test_a_run_recovers_the_winner_and_resumes_in_the_middle_of_its_finals(run, tmp_path):
    whole = run("whole", SELECTED, 6, 2, "generational")
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
    again = result(cut)
    for row in (*again["recovered"].values(), *found["recovered"].values()):
        del row["minutes"]
    assert again == found
