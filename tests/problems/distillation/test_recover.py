"""The command: what is recovered is better, is what was said, and can be interrupted."""

import json
import math
import resource
import shutil

import pytest
import torch
from safetensors.torch import load_file

import evoprune
from evoprune.cli import main
from problems.distillation import trainable_parameters
from problems.distillation.training import Training
from problems.models.blocks import find_matrices
from tests.problems.distillation.conftest import QUICK, ends_at_step_5, facts, recovered
from tests.problems.small import random_model, save


@pytest.fixture(scope="module")
def out(run):
    """The run's result, recovered."""
    out = run.parent / "out"
    assert main(["recover", str(run), "--out", str(out), *QUICK, "--alike", "dense"]) == 0
    return out


def weights(folder):
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def test_it_is_better_and_says_so(run, out):
    found = facts(out)
    rows = found["recovered"]
    before = json.loads((run / "result.json").read_text())["perplexity"]["report"]["evolved"]
    assert rows["evolved"]["perplexity_before"] == pytest.approx(before, rel=1e-3)
    assert rows["evolved"]["perplexity_after"] < before
    assert rows["evolved"]["divergence_after"] < rows["evolved"]["divergence_before"]
    assert found["check"]["perplexity"] == pytest.approx(rows["evolved"]["perplexity_after"], rel=1e-3)
    curve = rows["evolved"]["curve"]
    assert [point["tokens"] for point in curve] == [0, 256, 512, 768, 1024]
    assert rows["dense"]["divergence_before"] == pytest.approx(0, abs=1e-5)
    assert "behind_dense" in rows["evolved"]
    card = (out / "README.md").read_text()
    assert "## Recovered" in card
    assert "nothing was trained" not in card
    assert "(recovery.png)" in card
    assert (out / "recovery.png").exists()
    assert not out.with_name("out.unfinished").exists()


def test_the_dense_model_has_nothing_to_learn_from_itself(run, tmp_path, capsys):
    command = ["recover", str(run), "--out", str(tmp_path / "out"), *QUICK, "--alike", "dense", "--cross-entropy", "0"]
    assert main(command) == 0
    assert "dense: there is nothing to learn" in capsys.readouterr().out
    rows = facts(tmp_path / "out")["recovered"]
    assert rows["dense"]["tokens"] == 0
    assert rows["dense"]["perplexity_after"] == rows["dense"]["perplexity_before"]
    lost = math.log(rows["evolved"]["perplexity_after"] / rows["dense"]["perplexity_before"])
    assert rows["evolved"]["behind_dense"] == pytest.approx(lost)


def test_one_that_was_interrupted_ends_with_the_same_weights(run, out, monkeypatch, capsys):
    again = run.parent / "again"
    command = ["recover", str(run), "--out", str(again), *QUICK, "--alike", "dense"]
    with monkeypatch.context() as patched:
        ends_at_step_5(patched, KeyboardInterrupt)
        assert main(command) == 130
    assert not again.exists()
    assert main([*command[:-2], "--seed", "1"]) == 2
    assert "holds checkpoints of another recovery" in capsys.readouterr().err
    monkeypatch.setattr(trainable_parameters, "free_memory", lambda _: 0.0)  # what was trained is trained further
    assert main(command) == 0
    assert "continued after step 4" in capsys.readouterr().err
    for name, weight in weights(out).items():
        assert torch.equal(weights(again)[name], weight)
    for name, row in facts(out)["recovered"].items():
        assert facts(again)["recovered"][name]["curve"] == row["curve"]


@pytest.mark.parametrize("way", [{"accumulate": 2}, {"checkpointing": True}], ids=str)
def test_ways_to_need_less_memory_change_nothing_else(run, out, tmp_path, way):
    one, other = facts(out)["recovered"]["evolved"]["curve"], recovered(run, tmp_path, **way).rows["evolved"]["curve"]
    found = [point["held_out"] for point in other]
    assert found == pytest.approx([point["held_out"] for point in one], rel=5e-3)


def test_hidden_states_count_also_where_no_activations_are_kept(run, out, tmp_path):
    curves = [
        recovered(run, tmp_path / str(way), hidden=1, checkpointing=way).rows["evolved"]["curve"]
        for way in (False, True)
    ]
    one, other = ([point["held_out"] for point in curve] for curve in curves)
    assert other == pytest.approx(one, rel=5e-3)
    without = facts(out)["recovered"]["evolved"]["curve"]
    assert without[-1]["hidden"] == 0 < curves[0][-1]["hidden"]
    assert one[-1] != pytest.approx(without[-1]["held_out"], rel=1e-5)


def test_a_disk_without_room_for_a_checkpoint_is_left_clean(run, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, limits[1]))  # room for the weights, not for the moments too
    try:
        assert main(["recover", str(run), "--out", str(tmp_path / "out"), *QUICK]) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large; what was written before is intact" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_is_full_at_the_end_keeps_the_checkpoints(run, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 10**5, limits[1]))  # room for norms and moments, not for the model
    try:
        assert main(["recover", str(run), "--out", str(tmp_path / "out"), *QUICK, "--train", "norms"]) == 3
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "what was written before is intact" in capsys.readouterr().err
    assert (tmp_path / "out.unfinished" / "evolved" / "step-8").exists()


def test_a_device_without_memory_is_told_and_the_checkpoints_stay(run, tmp_path, monkeypatch, capsys):
    ends_at_step_5(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    assert main(["recover", str(run), "--out", str(tmp_path / "out"), *QUICK]) == 3
    assert "has no memory left for the recovery; checkpointing, a shorter window," in capsys.readouterr().err
    assert (tmp_path / "out.unfinished" / "evolved" / "step-4").exists()


@pytest.mark.parametrize(
    ("folder", "given", "reason"),
    [
        ("run", ["--teacher", "bundled:gpt2-mini"], "--teacher: is for an exported folder: a run has its own"),
        ("run", ["--report-text", "other.txt"], "--report-text: is for an exported folder"),
        ("run", ["--accumulate", "3"], "batch: expected a multiple of accumulate, which is 3"),
        ("out", ["--set", "problem.seed=1"], "--set: changes a run's experiment, and SOURCE is no run"),
        ("out", ["--base", "base.gguf"], "--base: is for a run that becomes a file"),
        ("run", ["--base", "base.gguf"], "--base: a folder takes nothing from a .gguf file"),
        ("out", ["--alike", "dense"], "--alike: the folder was recovered before, and the dense model was not"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_option_that_would_do_nothing_is_refused(run, out, folder, given, reason, tmp_path, capsys):
    source = {"run": run, "out": out}[folder]
    assert main(["recover", str(source), "--out", str(tmp_path / "new"), *QUICK, *given]) == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_needs_the_runs_texts_only_where_it_reads_them(run, out, tmp_path, capsys):
    search, moved = run.parent / "search.txt", run.parent / "moved.txt"
    search.rename(moved)
    try:
        command = ["recover", str(out), "--out", str(tmp_path / "new"), *QUICK]
        assert main(command) == 2
        assert "search.txt: no such file" in capsys.readouterr().err
        command += ["--text", str(moved), "--train", "norms"]
        assert main([*command, "--report-text", str(moved)]) == 2
        assert "is not the text that the run was measured on" in capsys.readouterr().err
        assert main(command) == 0
    finally:
        moved.rename(search)


def test_a_folder_is_recovered_further_into_a_folder(out, capsys):
    assert main(["recover", str(out), "--out", str(out.with_name("further.gguf")), *QUICK]) == 2
    assert "give the run itself for a file" in capsys.readouterr().err
    again = out.with_name("further")
    assert main(["recover", str(out), "--out", str(again), *QUICK, "--train", "norms"]) == 0
    before, after = (facts(folder)["recovered"]["evolved"] for folder in (out, again))
    assert after["perplexity_before"] == pytest.approx(before["perplexity_after"], rel=1e-3)
    assert min(point["held_out"] for point in after["curve"][1:]) < after["curve"][0]["held_out"]
    model, _ = evoprune.load(again)
    assert model.config.vocab_size == 128
    assert facts(again)["dtype"] == facts(out)["dtype"]


@pytest.mark.parametrize(("train", "left"), [("all", None), ("norms", {"Q4_0": 4})])
def test_matrices_that_were_trained_have_no_values_of_types(out, tmp_path, train, left):
    source, again = shutil.copytree(out, tmp_path / "typed"), tmp_path / "again"
    (source / "evoprune.json").write_text(json.dumps(facts(out) | {"types": {"Q4_0": 4}}))
    assert main(["recover", str(source), "--out", str(again), *QUICK, "--train", train]) == 0
    assert facts(again).get("types") == left
    assert ("4 Q4_0" in (again / "README.md").read_text()) == (left is not None)


def test_a_folder_in_float16_stays_so_and_is_trained_in_what_the_processor_computes_fast(run, tmp_path):
    half, again = tmp_path / "half", tmp_path / "again"
    assert main(["export", str(run), str(half), "--untimed", "--dtype", "float16"]) == 0
    assert main(["recover", str(half), "--out", str(again), *QUICK, "--train", "norms"]) == 0
    assert {weight.dtype for weight in weights(again).values()} == {torch.float16}
    before, after = (facts(folder)["check"]["perplexity"] for folder in (half, again))
    assert facts(again)["recovered"]["evolved"]["perplexity_before"] == pytest.approx(before, rel=1e-3)
    assert after < before


def test_weights_too_small_for_float16_become_zeros_and_are_counted(run, tmp_path, monkeypatch):
    trained_on = Training.run

    def smaller(training):
        model = trained_on(training)
        find_matrices(model)[0].weight.data[0] *= 1e-9
        return model

    half = tmp_path / "half"
    assert main(["export", str(run), str(half), "--untimed", "--dtype", "float16"]) == 0
    monkeypatch.setattr(Training, "run", smaller)
    assert main(["recover", str(half), "--out", str(tmp_path / "out"), *QUICK, "--train", "all"]) == 0


@pytest.mark.parametrize("train", ["all", pytest.param("lora", marks=pytest.mark.slow)])
def test_zeros_of_a_pruned_model(run_on, train, tmp_path, capsys):
    out = tmp_path / "out"
    code = main(["recover", str(run_on("llama")), "--out", str(out), *QUICK, "--train", train])
    if train == "lora":
        assert code == 2
        assert "would fill the zeros" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
        return
    assert code == 0
    sparsity = json.loads((run_on("llama") / "result.json").read_text())["sparsity"]["prunable"]
    assert facts(out)["sparsity"]["prunable"] == pytest.approx(sparsity)


def test_one_that_does_not_help_is_said_and_writes_nothing(run, tmp_path, capsys):
    ruinous = ["--rate", "1000", "--patience", "1", "--alike", "dense"]
    assert main(["recover", str(run), "--out", str(tmp_path / "out"), *QUICK, *ruinous]) == 3
    told = capsys.readouterr().err
    assert "the recovery did not help" in told
    assert "recovering dense" not in told
    assert list(tmp_path.iterdir()) == []


def test_what_a_time_is_turned_into_is_trained_on_by_all(run, tmp_path, monkeypatch):
    planned, timed = Training._planned, iter([3, 5])

    def of_each(training, measuring):
        return next(timed) if training._settings.time else planned(training, measuring)

    monkeypatch.setattr(Training, "_planned", of_each)
    rows = recovered(run, tmp_path, ["dense"], tokens=None, time="1m").rows
    assert [rows[name]["curve"][-1]["tokens"] for name in ("evolved", "dense")] == [3 * 128, 3 * 128]


def test_measuring_the_speed_changes_nothing(run, tmp_path, monkeypatch):
    expected, plan = recovered(run, tmp_path / "expected").weights, Training._planned

    def eight(training, measuring):
        training._settings = training._settings.model_copy(update={"time": "1m"})
        assert plan(training, measuring) > 0
        return 8

    monkeypatch.setattr(Training, "_planned", eight)
    found = recovered(run, tmp_path / "found").weights
    assert found.keys() == expected.keys()
    assert all(weight.equal(expected[name]) for name, weight in found.items())


@pytest.mark.slow
def test_a_folder_of_others_needs_its_dense_model(run, tmp_path, capsys):
    theirs = save(random_model("gpt2", seed=5), tmp_path / "theirs")
    dense, report = str(run.parent / "model"), str(run.parent / "report.txt")
    command = ["recover", theirs, "--out", str(tmp_path / "out"), *QUICK, "--window", "32"]
    assert main(command) == 2
    assert "give its dense model with --teacher" in capsys.readouterr().err
    command += ["--teacher", dense, "--report-text", report]
    assert main(command) == 2
    assert "which text to train on is not known" in capsys.readouterr().err
    command += ["--text", str(run.parent / "search.txt")]
    assert main([*command, "--teacher", "bundled:gpt2-mini"]) == 2
    assert "has a vocab_size of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(command) == 0
    assert "Its dense model is" in (tmp_path / "out" / "README.md").read_text()
