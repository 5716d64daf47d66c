"""One command for one's own model: what it plans, runs, writes and refuses."""

import pytest
import yaml
from transformers import AutoModelForCausalLM

from evoprune.cli import main
from problems.texts.settings import TextSettings
from problems.texts.source import load_text
from tests.problems.small import random_model, save
from tests.runs import result


@pytest.fixture
def text(tmp_path):
    """A file of the user's: some of the bundled text."""
    path = tmp_path / "all.txt"
    path.write_text(load_text(TextSettings(source="bundled:python-docs", split="train"), "text")[:40_000])
    return path


@pytest.fixture
def prune(tiny, tmp_path, capsys):
    """Calls the command on the tiny model, or another; returns its code and what it said."""

    def call(*arguments, model=tiny):
        places = ["--runs-dir", tmp_path / "runs", "--name", "run"]
        code = main(["prune", *map(str, [model, *places, *arguments])])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.mark.slow
def test_from_a_goal_to_a_checked_export_and_a_report(prune, text, tmp_path):
    code, out, err = prune("--sparsity", "40%", "--text", text, "--time", "6s", "--out", tmp_path / "pruned")
    assert code == 0, err
    folder = tmp_path / "runs" / "run"
    found = result(folder)
    verdict = out.splitlines()[0]
    assert verdict.startswith("40.0% of the weights removed: perplexity ")
    assert verdict in (folder / "report.md").read_text()
    assert f"written and checked: {tmp_path / 'pruned'}" in out
    AutoModelForCausalLM.from_pretrained(tmp_path / "pruned")
    texts = [found["protocol"][f"{role}_text"] for role in ("search", "calibration", "report")]
    assert len({one["sha256"] for one in texts}) == 3
    assert {one["source"] for one in texts} == {str(text)}


@pytest.mark.slow
def test_a_share_of_the_parameters_goes(prune, text, tmp_path):
    code, _, err = prune("--remove", "0.25", "--text", text, "--time", "6s")
    assert code == 0, err
    cost = result(tmp_path / "runs" / "run")["cost"]
    assert cost["parameters"]["evolved"] < cost["parameters"]["dense"]


@pytest.mark.slow
def test_a_file_is_no_larger_than_it_should_be(prune, text, tmp_path):
    pytest.importorskip("llama_cpp_py_sync")
    code, _, err = prune("--size", "250kB", "--text", text, "--time", "6s", "--out", tmp_path / "pruned.gguf")
    assert code == 0, err
    assert (tmp_path / "pruned.gguf").stat().st_size <= 250_000


@pytest.mark.parametrize(
    ("goal", "problem"),
    [
        ("--sparsity=.3", {"use": "pruning", "sparsity": 0.3, "reconstruct": "least_squares"}),
        ("--remove=25%", {"use": "language_model", "budget": {"use": "parameters", "removed": 0.25}}),
        ("--size=8MB", {"use": "language_model", "budget": {"use": "bytes", "at_most": 8_000_000}}),
        ("--speedup=1.5x", {"use": "language_model"}),
    ],
)
def test_the_experiment_of_each_goal_is_printed_and_valid(prune, tmp_path, goal, problem):
    code, out, err = prune(goal, "--print-config")
    assert code == 0, err
    found = yaml.safe_load(out)
    assert "no --text was given: the Python documentation" in err
    assert problem.items() <= found["problem"].items()
    assert not (tmp_path / "runs").exists()
    (tmp_path / "printed.yaml").write_text(out)
    assert main(["validate", str(tmp_path / "printed.yaml")]) == 0


SHARE, SIZE, FASTER, TIME = (
    f"{option}: expected {what}"
    for option, what in {
        "--sparsity": "a share between 0 and 1, such as 0.45 or 45%, got ",
        "--size": "a size with one of B, kB, MB, GB",
        "--speedup": "how many times as fast, above 1, such as 1.5, got ",
        "--time": "a time such as 90s, 20m or 2h, got ",
    }.items()
)
GOAL = "--sparsity=0.5"

MISTAKES = {
    "no goal": ([], "prune: expected one goal of --remove, --size, --sparsity, --speedup"),
    "two goals": ([GOAL, "--remove=0.2"], "got --remove and --sparsity"),
    "a percentage without its sign": (["--sparsity=45"], f"{SHARE}'45'; did you mean 45%?"),
    "more than everything": (["--sparsity=150%"], f"{SHARE}'150%'"),
    "nothing": (["--sparsity=0"], f"{SHARE}'0'"),
    "a word": (["--sparsity=half"], f"{SHARE}'half'"),
    "a decimal comma": (["--sparsity=0,5"], f"{SHARE}'0,5'"),
    "negative": (["--remove=-0.2"], "--remove: expected a share between 0 and 1"),
    "a size without a unit": (["--size=80"], SIZE),
    "an unknown unit": (["--size=80MO"], SIZE),
    "no size": (["--size=0MB"], SIZE),
    "slower": (["--speedup=0.5"], f"{FASTER}'0.5'"),
    "a speed in percent": (["--speedup=50%"], f"{FASTER}'50%'"),
    "a time without a unit": ([GOAL, "--time=20"], f"{TIME}'20'"),
    "a time in words": ([GOAL, "--time=20min"], f"{TIME}'20min'"),
    "no time": ([GOAL, "--time=0m"], f"{TIME}'0m'"),
    "too short a time": (
        [GOAL, "--time=0.001s"],
        "--time: is too short for this model on this machine; expected at least ",
    ),
    "a missing text": ([GOAL, "--text=nothing.txt"], "--text: nothing.txt: no such file"),
    "a text of another kind": ([GOAL, "--text=setup.cfg"], "expected a file that ends in .txt, .jsonl, .parquet"),
    "a folder that is taken": ([GOAL, "--out=problems"], "problems: exists already and is not an empty folder"),
    "a base that is not there": ([GOAL, "--base=no.gguf", "--out=small.gguf"], "--base: no such file: no.gguf"),
    "a base of no file": ([GOAL, "--base=base.gguf"], "--base: is for --out FILE.gguf"),
    "a backend that needs a file": ([GOAL, "--map=scoop"], "--map scoop: is for 'run'"),
    "a negative seed": ([GOAL, "--seed=-1"], "prune: seed: expected a number of at least 0"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(prune, tmp_path, arguments, fragment):
    _refused(prune(*arguments), fragment, tmp_path)


def _refused(answer, fragment, tmp_path):
    code, out, err = answer
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("evoprune: ")]
    assert fragment in line
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_text_that_is_too_short_says_how_long_it_should_be(prune, tmp_path):
    (tmp_path / "short.txt").write_text("Too short a text. " * 40)
    answer = prune("--sparsity=0.5", "--text", tmp_path / "short.txt")
    _refused(answer, "--text: ", tmp_path)
    assert "expected at least 1,920, about 8 kB of English" in answer[2]


@pytest.mark.parametrize("goal", ["--size=250kB", "--remove=25%"])
def test_a_file_of_a_model_that_nothing_else_is_known_of_is_refused_before_anything_is_measured(prune, tmp_path, goal):
    pytest.importorskip("llama_cpp_py_sync")
    model = save(random_model("llama"), tmp_path / "model")
    _refused(
        prune(goal, "--out", tmp_path / "pruned.gguf", model=model), "give it with --base, or in place of", tmp_path
    )


@pytest.mark.parametrize("model", ["no/such/folder", "nothing.gguf", "bundled:gpt5"])
@pytest.mark.usefixtures("offline")
def test_a_model_that_is_not_there_is_one_line(prune, tmp_path, model):
    _refused(prune("--sparsity=0.5", model=model), "model: ", tmp_path)


def test_a_goal_out_of_reach_is_one_line_and_leaves_nothing(prune, text, tmp_path):
    code, out, err = prune("--size=1kB", "--text", text, "--time=60s")
    assert (code, out) == (2, "")
    assert "budget" in err.splitlines()[-1] or "bytes" in err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
