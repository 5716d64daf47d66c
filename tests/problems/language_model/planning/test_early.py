"""Mistakes that are refused before torch is imported."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from threading import Event

import huggingface_hub
import pytest

from evoprune import InputError
from evoprune.problems.language_model.planning import early
from evoprune.problems.language_model.planning.early import refuse_files, refuse_mistakes
from evoprune.problems.language_model.planning.recipes import Remove
from evoprune.problems.language_model.planning.sizes import Bits, Size

pytest.importorskip("gguf")

from tests.problems.language_model.gguf.models import random_gpt2, write_model

SCRIPT = """
import json, sys
from evoprune.cli import main
for arguments in json.load(sys.stdin):
    print(main(arguments), end=" ", flush=True)
print(sorted({"torch", "transformers", "datasets", "matplotlib"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A .gguf file of a tiny GPT-2."""
    return write_model(random_gpt2(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def broken(file, tiny, tmp_path):
    """Models that are not whole, by what is wrong with them."""
    (tmp_path / "half.gguf").write_bytes(file.read_bytes()[:-1000])
    (tmp_path / "folder").mkdir()
    for path in tiny.iterdir():
        content = path.read_bytes()
        (tmp_path / "folder" / path.name).write_bytes(content[:-1000] if path.suffix == ".safetensors" else content)
    return tmp_path


def test_they_are_a_line_each_and_nothing_heavy_is_imported(file, tiny, broken, tmp_path):
    out, goal = f"--out={tmp_path / 'small.gguf'}", "--size=100kB"
    (tmp_path / "short.txt").write_text("Too short a text.")
    mistakes = {
        "no/such/folder": ["no/such/folder", goal],
        "half.gguf: the file is incomplete": [str(broken / "half.gguf"), goal, out],
        "model.safetensors: the file is incomplete": [str(broken / "folder"), "--remove=20%"],
        "--size: expected": [str(file), "--size=80", out],
        "--size: is met already": [str(file), "--size=1GB", out],
        "--size: types of GGUF": [str(file), "--size=1kB", out],
        "--size: fewer heads": [str(tiny), "--size=1kB"],
        "bundled:gpt2-mini": ["bundled:gpt2", goal],
        "no such model": ["my model", goal],
        "--remove: expected": [str(file), "--remove=150%"],
        "--text: ": [str(file), goal, out, f"--text={tmp_path / 'short.txt'}"],
        "small.ggu: ": [str(file), goal, out[:-1]],
        "exists already": [str(file), goal, f"--out={tmp_path / 'folder'}"],
        "--seed: ": [str(file), goal, out, "--seed=-1"],
        "--bits: is for": [str(file), "--bits=4"],
        "--context: expected": [str(file), "--fits=8GB", out, "--context=0"],
    }
    asked = json.dumps([["prune", *arguments] for arguments in mistakes.values()])
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, input=asked, capture_output=True, text=True)
    assert done.stdout == f"{'2 ' * len(mistakes)}[]\n", done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("evoprune: ")]
    assert all(fragment in line for fragment, line in zip(mistakes, lines, strict=True)), done.stderr
    assert not (tmp_path / "runs").exists()


def refused(model, recipe, **options):
    """The message, None if nothing is refused."""
    given = {"model": str(model), "seed": 0, "context": 1} | dict.fromkeys(
        ["out", "base", "text", "task", "vocabulary", "also"]
    )
    given = Namespace(**given | options)
    try:
        refuse_mistakes(given, recipe)
        refuse_files(given, recipe)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("kind", "cuts"),
    [
        ("gpt2", [{"use": "sublayers", "genes": "block"}, {"use": "channels", "genes": "model", "drop": False}]),
        ("llama", ["heads", "channels"]),
    ],
    ids=["gpt2", "llama"],
)
def test_no_size_is_refused_that_can_be_reached_and_few_others_are_not(kind, cuts, problem_on, byte_models):
    pytest.importorskip("llama_cpp_py_sync")
    folder = Path(byte_models(kind)["model"])
    base, out = folder.parent / "base.gguf", Path("small.gguf")
    types = {"use": "types", "importance": False, "base": None if kind == "gpt2" else str(base)}
    transform = problem_on(kind, [*cuts, types]).session.transform
    smallest = transform.budget("bytes", None).spent([gene.up for gene in transform.genes])
    parameters = transform.resident.parameters
    for source in (folder, base):
        assert refused(source, Size(smallest), out=out) is None
        assert refused(source, Bits(8.01 * smallest / parameters), out=out) is None
    share = 0.5
    assert "--size" in refused(base, Size(share * smallest), out=out)
    assert "--bits" in refused(base, Bits(share * 8 * smallest / parameters), out=out)


def test_a_hub_that_does_not_answer_is_waited_for_no_longer_than_is_said(monkeypatch):
    never = Event()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: never.wait(60))
    monkeypatch.setattr(early, "_PATIENCE", 0.01)
    try:
        assert "nobody/nothing: " in refused("nobody/nothing", Remove(0.5))
    finally:
        never.set()


@pytest.mark.usefixtures("offline")
def test_without_the_hub_a_name_is_no_model_and_with_it_one_that_it_has(monkeypatch):
    assert "HF_HUB_OFFLINE" in refused("nobody/nothing", Remove(0.5))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: "known")
    assert refused("nobody/nothing", Remove(0.5)) is None


def test_a_missing_package_is_named_with_a_command_that_installs_it(file, monkeypatch):
    monkeypatch.setattr(early, "find_spec", lambda _: None)
    assert "pip install 'evoprune[gguf]'" in refused(file, Remove(0.5))
