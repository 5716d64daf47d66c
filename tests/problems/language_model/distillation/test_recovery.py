"""Recoveries of a run, and in a run: better, exported, told, and resumed after an interruption."""

import json
import math
import re
import shutil
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from evoprune.api import Run
from evoprune.cli import main
from evoprune.interfaces.parts import Outcome
from evoprune.problems.language_model.distillation import recovery, trainable_parameters
from evoprune.problems.language_model.distillation.recovery import Distillation
from evoprune.problems.language_model.distillation.settings import RecoverPhaseSettings
from evoprune.problems.language_model.distillation.training import Training
from evoprune.problems.language_model.results.recovery import seconds_of
from tests.problems.language_model.recoveries import OPTIONS, RECOVER, facts, stop_at_step_5
from tests.runs import no_file_above, result

CUTS = SimpleNamespace(prunes_blocks=True)  # facts about transforms


@pytest.fixture(scope="module")
def out(smaller_run):
    """The run's result, recovered."""
    out = smaller_run.parent / "out"
    assert main(["recover", str(smaller_run), "--out", str(out), *OPTIONS, "--alike", "dense"]) == 0
    return out


def weights(folder):
    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def test_it_is_better_and_the_card_says_so(smaller_run, out):
    found, before = facts(out), result(smaller_run)["perplexity"]["report"]["evolved"]
    row = found["recovered"]["evolved"]
    assert row["perplexity_before"] == pytest.approx(before, rel=1e-3)
    assert row["perplexity_after"] < before
    assert row["divergence_after"] < row["divergence_before"]
    assert found["check"]["perplexity"] == pytest.approx(row["perplexity_after"], rel=1e-3)
    assert [point["tokens"] for point in row["curve"]] == [0, 256, 512, 768, 1024]
    dense = found["recovered"]["dense"]
    assert dense["divergence_before"] == pytest.approx(0, abs=1e-5)
    assert row["behind_dense"] == pytest.approx(math.log(row["perplexity_after"] / dense["perplexity_after"]))
    card = (out / "README.md").read_text()
    assert "## Recovered" in card
    assert "(recovery.png)" in card
    assert (out / "recovery.png").exists()
    assert not out.with_name("out.unfinished").exists()


def test_one_that_was_interrupted_ends_with_the_same_weights(smaller_run, out, monkeypatch, capsys):
    again = out.with_name("again")
    command = ["recover", str(smaller_run), "--out", str(again), *OPTIONS, "--alike", "dense"]
    with monkeypatch.context() as patched:
        stop_at_step_5(patched, KeyboardInterrupt)
        assert main(command) == 130
    assert not again.exists()
    assert main([*command[:-2], "--seed", "1"]) == 2
    assert "checkpoints of another recovery" in capsys.readouterr().err
    monkeypatch.setattr(trainable_parameters, "can_train", lambda *_: False)  # what was trained is trained further
    assert main([word for word in command if word != "--untimed"]) == 0
    assert "continued after step 4" in capsys.readouterr().err
    assert facts(again).keys() - facts(out).keys() == {"runtime"}
    for name, weight in weights(out).items():
        assert torch.equal(weights(again)[name], weight)
    for name, row in facts(out)["recovered"].items():
        assert facts(again)["recovered"][name]["curve"] == row["curve"]


def test_a_full_disk_ends_with_code_3_and_loses_nothing(smaller_run, tmp_path, capsys):
    command = ["recover", str(smaller_run), "--out", str(tmp_path / "out"), *OPTIONS, "--train", "norms"]
    with no_file_above(2 * 10**5):  # room for checkpoints, not for the model
        assert main(command) == 3
    assert "File too large" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(command) == 0
    assert "continued after step 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "options", "code", "reason"),
    [
        ("run", ["--rate", "1000", "--patience", "1", "--alike", "dense"], 3, "did not help"),
        ("run", ["--base", "base.gguf"], 2, "--base"),
        ("out", [], 2, "config.yaml"),
    ],
)
def test_a_recovery_that_is_refused_or_useless_leaves_nothing(out, tmp_path, capsys, source, options, code, reason):
    assert main(["recover", str(out.with_name(source)), "--out", str(tmp_path / "new"), *OPTIONS, *options]) == code
    told = capsys.readouterr().err
    assert reason in told
    assert "recovering dense" not in told
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def phased(smaller_run, tmp_path_factory):
    """A run whose last part is a recovery."""
    home = tmp_path_factory.mktemp("phased")
    told = f"problem.recover={json.dumps(RECOVER | {'alike': 'dense'})}"
    command = ["run", str(smaller_run.parent / "experiment.yaml"), "--set", told, "--runs-dir", str(home)]
    assert main([*command, "--name", "run"]) == 0
    return home / "run"


def test_a_recovery_in_a_run_is_measured_exported_and_shown(phased, tmp_path):
    row = result(phased)["recovered"]["evolved"]
    assert row["perplexity_after"] < row["perplexity_before"]
    assert not list(phased.glob("recovery*/"))
    last = Run.open(phased).compare().rows[-1]
    assert (last["model"], last["perplexity"]) == ("evolved, recovered", pytest.approx(row["perplexity_after"]))
    assert main(["export", str(phased), str(tmp_path / "out"), "--untimed"]) == 0
    assert facts(tmp_path / "out")["check"]["perplexity"] == pytest.approx(row["perplexity_after"], rel=1e-3)
    assert (tmp_path / "out" / "recovery.png").exists()
    assert main(["report", str(phased)]) == 0
    assert "tokens trained on (this model: " in (phased / "report.html").read_text()


def test_a_kill_while_checkpoints_are_deleted_blocks_no_resume(phased, smaller_run, tmp_path, monkeypatch):
    told = ["--set", f"problem.recover={json.dumps(RECOVER)}", "--runs-dir", str(tmp_path), "--name", "run"]
    folder, delete = tmp_path / "run", shutil.rmtree

    def killed(path, *given, **more):
        if Path(path).parent != folder or not list(path.glob("**/step-*")):
            return delete(path, *given, **more)
        next(path.glob("**/step-*")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        assert main(["run", str(smaller_run.parent / "experiment.yaml"), *told]) == 130
    rows = result(folder)["recovered"]
    assert rows["evolved"]["curve"] == result(phased)["recovered"]["evolved"]["curve"]
    assert main(["resume", str(folder)]) == 0
    assert main(["resume", str(folder), "--set", "generations=2"]) == 0
    assert not list(folder.glob("recovery*/"))


@pytest.fixture(scope="module")
def stopped(smaller_run, tmp_path_factory):
    """A run that was interrupted in its recovery."""
    home, told = tmp_path_factory.mktemp("stopped"), f"problem.recover={json.dumps(RECOVER)}"
    command = ["run", str(smaller_run.parent / "experiment.yaml"), "--set", told, "--runs-dir", str(home)]
    with pytest.MonkeyPatch.context() as patched:
        stop_at_step_5(patched, KeyboardInterrupt)
        assert main([*command, "--name", "run"]) == 130
    return home / "run"


def test_an_interrupted_recovery_in_a_run_may_go_on_in_another_way(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "run")
    before = (folder / "history.jsonl").read_bytes()
    assert main(["resume", str(folder), "--set", "problem.recover.train=norms"]) == 0
    assert (folder / "history.jsonl").read_bytes() == before
    assert result(folder)["recovered"]["evolved"]["trained"].startswith("norms, ")
    assert main(["recover", str(folder), "--out", str(tmp_path / "new"), *OPTIONS, "--alike", "dense"]) == 2
    assert "alike" in capsys.readouterr().err


def test_a_run_whose_time_is_over_ends_without_its_recovery(stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped, tmp_path / "run")
    (folder / "promised.json").write_text(json.dumps({"seconds": 0.0}))
    assert main(["resume", str(folder)]) == 0
    assert not result(folder).get("recovered")
    assert "no time" in result(folder)["untrained"]


def test_where_there_is_no_time_to_train_the_minutes_are_told_of_which_half_would_do(tmp_path):
    asked = RecoverPhaseSettings(time="1m", least=1000)
    model = tmp_path / "model.gguf"
    own = Distillation(SimpleNamespace(settings=SimpleNamespace(model=str(model))), asked, {})
    vars(own)["settings"] = asked

    def untrained(left):
        return own.in_run(Outcome([0.0], None, {}, seconds_left=left), {}, tmp_path, 60.0, 600.0)["untrained"]

    assert re.search(r"python -m evoprune recover \S+ --out trained.gguf --time \d+m", untrained(0.0))
    minutes = float(re.search(r"about ([\d.]+) ", untrained(0.0))[1])
    assert untrained(0.9 * 30 * minutes)
    with pytest.raises(AttributeError):  # it would be trained
        untrained(30 * minutes)
    (checkpoint := tmp_path / "recovery" / "evolved" / "step-last.safetensors").parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(AttributeError):  # its training would continue
        untrained(0.0)


def test_the_file_to_compare_with_has_its_time_before_training(tmp_path, monkeypatch):
    times = []

    def keep_time(_, __, settings, *___, **____):
        times.append(seconds_of(settings.time))
        raise KeyboardInterrupt

    monkeypatch.setattr(recovery, "recover", keep_time)
    session = SimpleNamespace(transform=SimpleNamespace(form=None, facts=CUTS), settings=SimpleNamespace(model="model"))
    for comparing, left in ((0.0, 1000.0), (300.0, 1000.0), (800.0, 1000.0)):
        own = Distillation(session, RecoverPhaseSettings(time="1h", least=1000, comparing=comparing), {})
        vars(own)["text"] = None
        with suppress(KeyboardInterrupt):
            told = own.in_run(Outcome([0.0], None, {}, seconds_left=left), {}, tmp_path, 20.0, 600.0)
    assert times[0] - times[1] >= 300
    assert len(times) == 2  # the third has no time to train
    assert "no time" in told["untrained"]


def test_the_time_of_a_draft_tells_how_long_the_export_reads_in_the_runtime(tmp_path, monkeypatch):
    asked, times = RecoverPhaseSettings(time="1h", least=1), []

    def keep_time(_, __, settings, *___, **____):
        times.append(seconds_of(settings.time))
        raise KeyboardInterrupt

    monkeypatch.setattr(recovery, "recover", keep_time)
    texts = SimpleNamespace(**{name: SimpleNamespace(tokens=torch.ones(8, 16)) for name in ("search", "report")})
    transform = SimpleNamespace(form=None, facts=CUTS)
    own = Distillation(SimpleNamespace(transform=transform, texts=texts), asked, {})
    vars(own)["text"] = None
    for drafted in (0.0, 1.0, 20.0):
        with pytest.raises(KeyboardInterrupt):
            own.in_run(Outcome([0.0], None, {}, "", 1000.0, drafted), {}, tmp_path, 20.0, 600.0)
    assert times[0] == times[1]
    assert times[2] < times[1] - 8 * 20 + 3 * 20 + 1


def test_a_run_with_a_time_repeats_its_training_without_one(smaller_run, tmp_path, monkeypatch):
    timed = json.dumps({key: value for key, value in RECOVER.items() if key != "tokens"} | {"time": "1m"})
    command = ["run", str(smaller_run.parent / "experiment.yaml"), "--set", f"problem.recover={timed}"]
    with monkeypatch.context() as patched:
        patched.setattr(Training, "_steps_within", lambda *_: 3)
        assert main([*command, "--runs-dir", str(tmp_path), "--name", "timed"]) == 0
    config = tmp_path / "timed" / "config.yaml"
    assert "time" not in yaml.safe_load(config.read_text())["problem"]["recover"]
    assert main(["run", str(config), "--runs-dir", str(tmp_path), "--name", "again"]) == 0
    curves = [result(tmp_path / name)["recovered"]["evolved"]["curve"] for name in ("timed", "again")]
    assert curves[0] == curves[1]
    assert main(["resume", str(tmp_path / "timed")]) == 0  # the run is still the same


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["recover.held_out=400"], "expected 400 that are held out"),
        (["recover.train=lora", "transforms=weights", "budget={use: weights, removed: 0.5}"], "would fill the zeros"),
    ],
)
def test_a_recovery_that_cannot_be_is_refused_before_the_search(smaller_run, tmp_path, capsys, settings, reason):
    told = [word for setting in settings for word in ("--set", f"problem.{setting}")]
    command = ["run", str(smaller_run.parent / "experiment.yaml"), *told, "--runs-dir", str(tmp_path), "--name", "run"]
    assert main(command) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
