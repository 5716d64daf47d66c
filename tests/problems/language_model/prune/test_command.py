"""One command for one's own model: its plan, run, export and errors."""

import errno
import json
import math
import os
import shutil
from types import SimpleNamespace

import pytest
import yaml
from transformers import AutoModelForCausalLM

from evoprune.cli import main
from evoprune.exports.exporting import FACTS, metadata_path
from evoprune.files.json_files import read_json
from evoprune.problems.language_model.distillation import recovery
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.gguf import loading
from evoprune.problems.language_model.gguf.prune import quantising
from evoprune.problems.language_model.gguf.prune.source_types import least_bytes
from evoprune.problems.language_model.models import load
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.prune import planning
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.results.summary import megabytes
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from tests.problems.language_model.small import random_model, save
from tests.runs import result

VOCABULARY = "evoprune.problems.language_model.vocabulary"  # a wing that a checkout may lack


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(measured, monkeypatch):
    """The pace of the tiny model is measured once."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(measured))


@pytest.fixture
def text(tmp_path):
    """A file of the user's: some of the bundled text."""
    path = tmp_path / "all.txt"
    path.write_text(load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:40_000])
    return path


@pytest.fixture
def prune(tiny, tmp_path, capsys):
    """Calls the command on the tiny model, or another; returns its exit code, output and errors."""

    def call(*arguments, model=tiny):
        places = ["--runs-dir", tmp_path / "runs", "--name", "run"]
        code = main(["prune", *map(str, [model, *places, *arguments])])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.mark.slow
def test_from_a_goal_to_a_checked_export_and_a_report(prune, text, tmp_path):
    code, out, err = prune("--sparsity", "40%", "--text", text, "--time", "2s", "--out", tmp_path / "pruned")
    assert code == 0, err
    folder = tmp_path / "runs" / "run"
    found = result(folder)
    assert found["sparsity"]["prunable"] == pytest.approx(0.4, abs=1e-4)
    *_, verdict, checked, used = out.splitlines()
    assert checked.endswith(str(tmp_path / "pruned")) and str(tmp_path / "pruned") in used
    assert "40.0%" in verdict
    assert not [
        line for line in out.splitlines() if "evoprune export" in line or "evoprune report" in line
    ]  # both done
    assert f"> {verdict}" in (folder / "report.md").read_text()
    AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    texts = [found["protocol"][f"{role}_text"] for role in ("search", "calibration", "report")]
    assert len({one["sha256"] for one in texts}) == 3
    assert {one["source"] for one in texts} == {str(text)}


@pytest.fixture
def quantised(tmp_path):
    """Makes a tiny model as a .gguf file of Q5_1."""
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    from tests.problems.language_model.gguf.models import random_llama, random_qwen2, random_qwen3_moe, write_quantised

    makers = {"llama": random_llama, "qwen2": random_qwen2, "qwen3_moe": random_qwen3_moe}
    return lambda kind: write_quantised(makers[kind](blocks=4), tmp_path / "tiny.gguf", "Q5_1")


@pytest.fixture
def trained(monkeypatch):
    """A moment of training in each run, also on a busy machine."""
    lasting = RecoverSettings.lasting
    monkeypatch.setattr(recovery, "_AFTER", -math.inf)
    monkeypatch.setattr(RecoverSettings, "lasting", lambda own, _: lasting(own, 0.3))


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("kind", "goal", "name"),
    [("llama", "--size=75kB", "75kB"), ("qwen2", "--remove=20%", "remove-20"), ("qwen3_moe", "--size=95 kB", "95kB")],
)
def test_a_file_that_lost_heads_channels_blocks_or_experts_is_smaller_than_its_source(
    prune, text, quantised, tmp_path, monkeypatch, kind, goal, name
):
    """The file is made where the command is given, if no other place is."""
    from evoprune.problems.language_model.gguf.reader import read_gguf

    monkeypatch.chdir(tmp_path)
    source, out = quantised(kind), tmp_path / f"tiny-{name}.gguf"
    code, _, err = prune(goal, "--text", text, "--time", "2s", model=source)
    assert code == 0, err
    assert out.stat().st_size < source.stat().st_size
    assert not goal.startswith("--size") or out.stat().st_size <= 1000 * int(goal[7:9])
    assert not {each.kind for each in read_gguf(out).tensors.values()} & {"F16", "BF16"}
    found = result(tmp_path / "runs" / "run")
    assert found["recovered"]["evolved"]["trained"]
    asked = found["asked"]
    assert asked["got"] >= asked["wanted"] if goal.startswith("--remove") else asked["got"] <= asked["wanted"]


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_recipe_and_an_importance_matrix_leave_scales_alone_to_find(prune, text, quantised, tmp_path):
    import numpy as np

    from evoprune.problems.language_model.gguf.reader import read_gguf
    from evoprune.problems.language_model.gguf.recipe import read_importance, write_importance

    source, recipe, weighed, out = quantised("llama"), *(tmp_path / name for name in ("r.txt", "i.gguf", "out.gguf"))
    matrices = {name: each for name, each in read_gguf(source).tensors.items() if len(each.shape) > 1}
    kinds = {name: "Q4_1" if "attn" in name else "Q4_0" for name in matrices}
    recipe.write_text("".join(f"{name}={kind}\n" for name, kind in kinds.items()))
    known = {name: 1 + np.arange(each.shape[1], dtype=np.float32) for name, each in matrices.items() if "blk" in name}
    write_importance(weighed, known, 8)
    code, _, err = prune(
        "--recipe", recipe, "--imatrix", weighed, "--text", text, "--time", "2s", "--out", out, model=source
    )
    assert code == 0, err
    assert {name: read_gguf(out).tensors[name].kind for name in matrices} == kinds
    found = result(tmp_path / "runs" / "run")
    assert found["recovered"]["evolved"]["trained"].startswith("scales")
    assert found["protocol"]["calibration_text"] is None
    written = read_importance(tmp_path / "out.evoprune.imatrix.gguf")
    assert all(np.allclose(each, written[name][0]) for name, each in known.items())


@pytest.fixture
def task(tmp_path):
    """Writes a task file of so many lines of 37 bytes."""

    def write(lines):
        path = tmp_path / "task.jsonl"
        records = ({"prompt": f"{n:032}", "choices": ["1", "2", "3"], "answer": str(n % 3 + 1)} for n in range(lines))
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
        return path

    return write


@pytest.mark.slow
@pytest.mark.usefixtures("trained")
def test_a_task_file_is_searched_trained_and_told_in_place_of_a_text(prune, text, task, tmp_path, tiny, monkeypatch):
    """Into a file that is no larger than it should be."""
    pytest.importorskip("llama_cpp_py_sync")
    out, other = tmp_path / "small.gguf", tmp_path / "other.txt"
    other.write_text(text.read_text()[5_000:])
    also = [f"--also={text}", f"--also={other}"]
    code, printed, err = prune("--size=150kB", "--task", task(120), "--time=2s", "--out", out, *also)
    assert code == 0, err
    assert out.stat().st_size <= 150_000
    found, facts = result(tmp_path / "runs" / "run"), read_json(metadata_path(out, FACTS, True))
    row = found["recovered"]["evolved"]
    assert row["trained"].startswith("scales")
    assert row["tokens"] or not row["helped"]
    report = found["protocol"]["report_text"]
    assert found["accuracy"].keys() == {"dense", "evolved"}
    assert report["predictions"] == report["windows"] == report["bytes"]  # an answer is a byte
    assert found["bits_per_byte"]["dense"] == pytest.approx(math.log2(found["perplexity"]["report"]["dense"]))
    assert found["protocol"]["recovery"]["text"]["source"] == str(task(120))
    for told in (printed, (tmp_path / "runs" / "run" / "report.md").read_text()):
        assert f"on {report['windows']} held-out lines" in told
        assert all(f" on {name}" in told for name in ("all.txt", "other.txt"))
    assert facts["fit"]
    assert "gap_closed" not in found  # nothing is uniform
    assert "evolved" not in (tmp_path / "runs" / "run" / "report.md").read_text().partition("Experiment")[0]


def test_weights_in_16_bits_of_a_quantised_source_are_announced_first(prune, quantised):
    source = quantised("llama")
    code, _, err = prune("--remove=20%", "--out=small", "--print-config", model=source)
    assert code == 0, err
    first = next(line for line in err.splitlines() if line.startswith(("the result", str(source))))
    assert "16 bits" in first
    assert "16 bits" not in prune("--remove=20%", "--print-config", model=source)[2]


@pytest.mark.parametrize(
    ("goal", "problem"),
    [
        ("--sparsity=.3", {"use": "pruning", "sparsity": 0.3, "reconstruct": "least_squares"}),
        ("--remove=25%", {"use": "language_model", "budget": {"use": "parameters", "removed": 0.25}}),
        ("--size=500kB", {"use": "language_model", "budget": {"use": "bytes", "at_most": 500_000}}),
        ("--speedup=1.5x", {"use": "language_model"}),
        ("--bits=5 --out=small.gguf", {"budget": {"use": "bits_per_weight", "at_most": 5.0}, "objective": "kl"}),
    ],
)
def test_the_experiment_of_each_goal_is_printed_and_valid(prune, tmp_path, monkeypatch, goal, problem):
    """Nothing is calibrated for it."""
    monkeypatch.setattr(planning, "Session", None)
    monkeypatch.setattr(quantising.ggml, "quantize", None)
    if ".gguf" in goal:
        pytest.importorskip("llama_cpp_py_sync")
    code, out, err = prune(*goal.split(), "--print-config")
    assert code == 0, err
    assert "no --text was given" in err
    assert problem.items() <= yaml.safe_load(out)["problem"].items()
    assert not (tmp_path / "runs").exists()
    (tmp_path / "printed.yaml").write_text(out)
    assert main(["validate", str(tmp_path / "printed.yaml")]) == 0


@pytest.mark.parametrize("goal", [["--remove=20%"], []], ids=["beside a goal", "alone"])
def test_tokens_that_a_text_hardly_needs_are_left_out(prune, text, goal, monkeypatch):
    pytest.importorskip(VOCABULARY)
    if not goal:
        code, _, err = prune("--vocabulary", text, "--print-config", model="bundled:gpt2-mini")
        assert (code, err.splitlines()[-1].split(": ")[1]) == (2, "--vocabulary")  # its text is short
        monkeypatch.setattr(f"{VOCABULARY}.goal._LOST", 1.0)
    code, out, err = prune(*goal, "--vocabulary", text, "--print-config", model="bundled:gpt2-mini")
    assert code == 0, err
    problem = yaml.safe_load(out)["problem"]
    first, *others = problem["transforms"]
    (words,) = first["texts"]
    assert first["use"] == "vocabulary"
    assert {each["use"] for each in others} == ({"heads", "channels"} if goal else set())
    assert words["source"] == problem["search_text"]["source"] == str(text)
    assert problem["search_text"]["part"][1] <= words["part"][0] < words["part"][1] <= problem["report_text"]["part"][0]
    assert problem["budget"]["use"] == ("parameters" if goal else "tokens")
    if not goal:
        embedding = Headers(ModelSettings(model="bundled:gpt2-mini")).tensors["transformer.wte.weight"]
        rows, width = embedding.shape
        assert megabytes(2 * width * (rows - problem["budget"]["at_most"])) in err  # one matrix, in 16 bits


@pytest.mark.parametrize("goal", [[], ["--size=2MB"]], ids=["alone", "beside a goal"])
def test_a_file_that_loses_tokens_is_trained_on_a_text_that_has_them(prune, text, goal, monkeypatch):
    """The text that chose the tokens has hardly any other; it is trained on if the other one is short."""
    pytest.importorskip("llama_cpp_py_sync")
    pytest.importorskip(VOCABULARY)
    monkeypatch.setattr(f"{VOCABULARY}.goal._LOST", 1.0)
    for least, part in ((1, "search_text"), (10**6, "calibration_text")):
        monkeypatch.setattr(planning, "_MANY", least)
        arguments = ["--vocabulary", text, "--out=small.gguf", "--print-config", *goal]
        code, out, err = prune(*arguments, model="bundled:gpt2-mini")
        assert code == 0, err
        problem = yaml.safe_load(out)["problem"]
        assert problem["recover"]["part"] == problem[part]["part"]


def test_tokens_go_before_heads_and_channels(prune, text):
    pytest.importorskip(VOCABULARY)
    pytest.importorskip("llama_cpp_py_sync")
    for option, cuts in (("--text", True), ("--vocabulary", False)):
        code, out, err = prune(
            option, text, "--size=1.7MB", "--out=small.gguf", "--print-config", model="bundled:gpt2-mini"
        )
        assert code == 0, err
        assert ("'channels'" in repr(yaml.safe_load(out)["problem"]["transforms"])) == cuts
        least = least_bytes(Headers(ModelSettings(model="bundled:gpt2-mini")))
        assert (megabytes(least) in err) == cuts


@pytest.mark.parametrize(("goal", "share"), [("--bits=3.5", 0.1), ("--bits=3.5", 0.2), ("--bits=5", 0.1)])
def test_fewer_tokens_are_advised_for_few_bits_where_rows_are_a_large_share(
    prune, text, task, goal, share, monkeypatch
):
    pytest.importorskip(VOCABULARY)
    pytest.importorskip("llama_cpp_py_sync")
    monkeypatch.setattr(f"{VOCABULARY}.goal._MUCH", share)
    advised = (goal, share) == ("--bits=3.5", 0.1)  # 15% of this model are rows of tokens
    for option, path in {"--text": text, "--vocabulary": text, "--task": task(600)}.items():
        arguments = [option, path, goal, "--out=small.gguf", "--print-config"]
        code, _, err = prune(*arguments, model="bundled:gpt2-mini")
        assert code == 0, err
        assert ("--vocabulary" in err) == (advised and option == "--text")


@pytest.mark.slow
def test_a_time_too_short_to_train_has_a_whole_verdict_and_a_run_without_a_clock_repeats_it(
    prune, text, quantised, tmp_path, monkeypatch
):
    monkeypatch.setattr(recovery, "TRAINING_COST", 1e9)
    out = tmp_path / "small.gguf"
    code, printed, err = prune("--bits=6", "--text", text, "--time=30s", "--out", out, model=quantised("llama"))
    assert code == 0, err
    facts, folder = read_json(metadata_path(out, FACTS, True)), tmp_path / "runs" / "run"
    verdict = next(line for line in printed.splitlines() if facts["preset"]["name"] in line)
    assert all(words in verdict for words in (" ± ", "same top token", "nothing was trained", "2,048"))
    assert facts["check"]["predictions"].keys() == facts["preset"]["predictions"].keys()
    for config in (folder / "config.yaml", out.with_suffix(".experiment.yaml")):
        assert yaml.safe_load(config.read_text())["problem"].get("recover") is None


@pytest.mark.parametrize(("goal", "out", "files"), [("--size=150kB", "small.gguf", 2), ("--size=200kB", "small", 1)])
def test_no_room_for_the_file_that_is_asked_for_is_told_before_the_search(
    prune, goal, out, files, tmp_path, monkeypatch
):
    if files == 2:
        pytest.importorskip("llama_cpp_py_sync")
    usage, limit = shutil.disk_usage, Size.read(goal.removeprefix("--size=")).value
    disk = SimpleNamespace(free=files * limit - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk if path == tmp_path else usage(path))
    code, printed, err = prune(goal, "--out", tmp_path / out)
    assert (code, printed) == (3, "")
    assert f"{tmp_path / out}: {os.strerror(errno.ENOSPC)}" in err
    assert not (tmp_path / "runs").exists()


GOAL = "--sparsity=0.5"


def test_a_time_that_is_too_short_is_one_line(prune, tmp_path):
    _refused(prune(GOAL, "--time=0.001s"), "--time: is too short", tmp_path)


def _refused(answer, fragment, tmp_path):
    code, out, err = answer
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("evoprune: ")]
    assert fragment in line
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_task_file_with_a_fault_is_refused_with_its_line(prune, task, text, tmp_path):
    _refused(prune(GOAL, "--task", task(30)), "30 different lines: expected at least", tmp_path)
    _refused(prune(GOAL, "--text", task(200)), "--task", tmp_path)
    _refused(prune(GOAL, "--task", text), "prompt and answer", tmp_path)
    path = task(200)
    path.write_text(path.read_text() + json.dumps({"prompt": "1" * 60, "choices": ["1", "2"], "answer": 0}))
    _refused(prune(GOAL, "--task", path), "line 201 has 61 tokens", tmp_path)
    path.write_text(path.read_text().replace('"answer": "3"', '"answer": 3', 1))
    _refused(prune(GOAL, "--task", path), "line 3: answer", tmp_path)


BINARY = bytes(range(256))


@pytest.mark.parametrize(
    ("others", "content", "kind"),
    [
        ([GOAL, "--text"], b"Too short a text. " * 400, "bundled:gpt2-mini"),
        ([GOAL, "--also"], b"A few tokens", "folder"),
        ([GOAL, "--also"], b"A few tokens", "file"),
        ([GOAL, "--also"], BINARY, "folder"),
        (["--vocabulary"], b"Too short a text. " * 400, "bundled:gpt2-mini"),
        (["--vocabulary"], BINARY * 200, "folder"),
        (["--remove=9%", "--text=all.txt", "--vocabulary"], BINARY, "folder"),
    ],
)
def test_a_text_is_refused_by_its_option_before_the_weights_are_read(
    prune, tiny, text, tmp_path, monkeypatch, others, content, kind
):
    from tests.problems.language_model.gguf.models import random_gpt2, write_model

    monkeypatch.chdir(text.parent)
    monkeypatch.setattr(load.AutoModelForCausalLM, "from_pretrained", lambda **_: pytest.fail("loaded"))
    monkeypatch.setattr(loading, "load_gguf_checkpoint", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "other.txt").write_bytes(content)
    models = {"folder": tiny, "file": write_model(random_gpt2(), tmp_path / "tiny.gguf")}
    answer = prune(*others, tmp_path / "other.txt", model=models.get(kind, kind))
    _refused(answer, f"evoprune: {others[-1]}: ", tmp_path)


def test_a_text_that_is_too_short_says_how_long_it_should_be(prune, tmp_path):
    for count in (40, 400):  # bytes, and tokens, are too few
        (tmp_path / "short.txt").write_text("Too short a text. " * count)
        answer = prune("--sparsity=0.5", "--text", tmp_path / "short.txt", model="bundled:gpt2-mini")
        _refused(answer, "--text: ", tmp_path)
        assert " kB" in answer[2]


@pytest.fixture
def unwritable(tmp_path):
    """Makes a model that no .gguf file can be made of; returns its path, and a word of the reason."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")

    def make(kind):
        if kind != "file":
            return save(random_model(kind), tmp_path / "model"), "--base"
        writer = gguf.GGUFWriter(tmp_path / "model.gguf", "mamba")
        for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
            step()
        writer.close()
        return tmp_path / "model.gguf", "mamba"

    return make


@pytest.fixture
def _unloaded(monkeypatch):
    monkeypatch.setattr(Resident, "load", lambda _: pytest.fail("it was loaded"))


@pytest.mark.usefixtures("_unloaded")
@pytest.mark.parametrize(("kind", "goal"), [("file", "--size=9kB"), ("opt", "--remove=9%"), ("llama", "--size=9kB")])
def test_a_model_that_cannot_be_written_is_refused_before_it_is_loaded(prune, unwritable, tmp_path, kind, goal):
    model, reason = unwritable(kind)
    _refused(prune(goal, "--out", tmp_path / "pruned.gguf", model=model), reason, tmp_path)


@pytest.mark.usefixtures("_unloaded")
@pytest.mark.parametrize("devices", ["cuda:99", "cpu,cuda:99", "nonsense:1"])
def test_devices_that_are_not_there_are_refused_before_a_model_is_loaded(prune, tmp_path, devices):
    _refused(prune(GOAL, "--devices", devices), "--devices: ", tmp_path)


@pytest.mark.usefixtures("offline")
def test_a_model_that_is_not_there_is_one_line(prune, tmp_path):
    _refused(prune("--sparsity=0.5", model="no/such/folder"), "no/such/folder: ", tmp_path)


def test_a_goal_out_of_reach_is_one_line_and_leaves_nothing(prune, text, tmp_path):
    _refused(prune("--size=75kB", "--text", text, "--time=60s"), "bytes", tmp_path)
