"""Mistakes in the command line, refused before torch is imported."""

import json
import subprocess
import sys

import pytest

from evoprune import InputError
from evoprune.cli.main import parser
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.prune.command import Prune

pytest.importorskip("gguf")

from tests.problems.language_model.gguf.models import random_gpt2, write_model

SCRIPT = """
import json, sys
from evoprune.cli import main
for arguments in json.load(sys.stdin):
    print(main(arguments), end=" ", flush=True)
print(sorted({"torch", "transformers", "datasets", "matplotlib"} & set(sys.modules)))
"""


GOAL, FILE = "--size=100kB", "--out=small.gguf"
FOLDER = "folder"  # of a whole model
WEIGHTS = ".safetensors"
LONG, MANY = "x" * 300, "9" * 400
TAKEN = ("taken.gguf", "a.README.md", "b.evoprune.json", "c.experiment.yaml", "d.UNFIT.txt")
MISTAKES = [
    ("no/such/folder: ", "no/such/folder", GOAL),
    ("MODEL: ", "", GOAL),
    ("MODEL: ", LONG, GOAL),
    ("half.gguf: the file is incomplete", "half.gguf", GOAL, FILE),
    ("model.safetensors: the file is incomplete", "half", "--remove=20%"),
    ("bundled:gpt2-mini", "bundled:gpt2", GOAL),
    ("--remove and --sparsity", FOLDER, "--sparsity=0.5", "--remove=0.2"),
    ("--sparsity: expected a share between 0 and 1", FOLDER, "--sparsity=45"),
    ("--sparsity: ", FOLDER, "--sparsity=150%"),
    ("--sparsity: ", FOLDER, "--sparsity=0,5"),  # a decimal comma
    ("--sparsity: ", FOLDER, "--sparsity=0.5", "--vocabulary=short.txt"),  # zeros keep their room
    ("--remove: expected", "tiny.gguf", "--remove=150%"),
    ("--speedup: ", FOLDER, "--speedup=0.5"),
    ("--size: expected", "tiny.gguf", "--size=80"),
    ("--size: expected", "tiny.gguf", f"--size={MANY}GB"),
    ("--size: expected", "tiny.gguf", "--size", "-1MB"),
    ("--size: is met already", "tiny.gguf", "--size=1GB"),
    ("tiny.gguf --size", "tiny.gguf", "--size=1kB", FILE),
    ("--out", FOLDER, "--size=1kB"),
    ("--bits: is for", FOLDER, "--bits=4"),
    ("--bits: ", FOLDER, "--bits=17", FILE),
    ("--fits: is for", FOLDER, "--fits=8GB"),
    ("--recipe: is for", FOLDER, "--recipe=short.txt"),
    ("short.txt: 'Too'", "tiny.gguf", "--recipe=short.txt", FILE),
    ("none.txt: ", "tiny.gguf", "--recipe=none.txt", FILE),
    ("--recipe: keeps all", "tiny.gguf", "--recipe=short.txt", "--vocabulary=short.txt"),
    ("--imatrix: is for", FOLDER, "--remove=20%", "--imatrix=tiny.gguf"),
    ("tiny.gguf: is no importance matrix", "tiny.gguf", GOAL, FILE, "--imatrix=tiny.gguf"),
    ("--context: ", "tiny.gguf", "--fits=8GB", "--context=0"),
    ("--context: ", "tiny.gguf", "--fits=8GB", "--context=49"),  # a token more than it has positions
    ("--context: is for --fits", "tiny.gguf", GOAL, "--context=32"),
    ("--also: ", "tiny.gguf", GOAL, "--vocabulary=short.txt", "--also=task.jsonl"),  # whose tokens must stay
    ("--kv: is for --fits", "tiny.gguf", GOAL, "--kv=q8_0"),
    ("--base: is for", FOLDER, "--remove=20%", "--base=tiny.gguf"),
    ("--base: no such file: ", FOLDER, "--remove=20%", "--base=no.gguf", FILE),
    ("--base: ", FOLDER, "--remove=20%", "--base=~nobody/no.gguf", FILE),
    ("--text: nothing.txt: no such file", FOLDER, GOAL, "--text=nothing.txt"),
    ("--text: ", FOLDER, GOAL, f"--text={LONG}"),
    (".txt, .jsonl, .parquet", FOLDER, GOAL, "--text=tiny.gguf"),
    ("--text: ", FOLDER, GOAL, "--text=short.txt"),
    ("--vocabulary: ", FOLDER, "--vocabulary=short.txt"),
    ("--time: ", FOLDER, GOAL, "--time=20"),
    ("--time: ", FOLDER, GOAL, f"--time={MANY}m"),
    ("--time: ", FOLDER, GOAL, "--time", "-5m"),
    ("prune --help", FOLDER, GOAL, "--time"),
    ("--time and --quick", FOLDER, GOAL, "--time=2m", "--quick"),
    ("--seed: ", FOLDER, GOAL, "--seed=-1"),
    ("--seed: ", FOLDER, GOAL, f"--seed={MANY}"),
    ("--map scoop: ", FOLDER, GOAL, "--map=scoop"),
    ("-n: ", FOLDER, GOAL, "-n=100000"),
    ("small.ggu: ", "tiny.gguf", GOAL, "--out=small.ggu"),
    ("folder: exists already", "tiny.gguf", GOAL, "--out=folder"),
    ("tiny-100kB.gguf: exists already", "tiny.gguf", GOAL),  # the default
    *((f"{name}: exists already", "tiny.gguf", GOAL, f"--out={name.split('.')[0]}.gguf") for name in TAKEN),
    ("short.txt/out.gguf: cannot be written", "tiny.gguf", GOAL, "--out=short.txt/out.gguf"),
    ("/dev/null/out: cannot be written", FOLDER, "--remove=20%", "--out=/dev/null/out"),
    ("x.gguf: cannot be written", "tiny.gguf", GOAL, f"--out=new/{LONG[:250]}.gguf"),
    ("x.gguf: cannot be written", "tiny.gguf", GOAL, f"--out={LONG[:235]}.gguf"),  # its card's name is longer
    ("--runs-dir: ", "tiny.gguf", GOAL, FILE, "--runs-dir=short.txt/runs"),
    ("--runs-dir: ", "tiny.gguf", GOAL, FILE, f"--runs-dir=new/{LONG}"),
    ("--name: ", "tiny.gguf", GOAL, FILE, "--name=a/b"),
]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A .gguf file of a tiny GPT-2."""
    return write_model(random_gpt2(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def workplace(file, tiny, tmp_path):
    """A folder with whole and broken models, a short text, and files in the way."""
    (tmp_path / "tiny.gguf").write_bytes(file.read_bytes())
    (tmp_path / "half.gguf").write_bytes(file.read_bytes()[:-1000])
    for name, left in ((FOLDER, None), ("half", -1000)):
        (tmp_path / name).mkdir()
        for path in tiny.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes()[: left if path.suffix == WEIGHTS else None])
    (tmp_path / "short.txt").write_text("Too short a text.")
    (tmp_path / "task.jsonl").write_text('{"prompt": "1 + 1 = ", "answer": "2"}')
    for name in (*TAKEN, "tiny-100kB.gguf"):
        (tmp_path / name).write_text("mine")
    return tmp_path


def test_they_are_a_line_each_before_anything_heavy_is_imported_and_leave_nothing(workplace):
    """All in one process, as its imports take longest."""
    pytest.importorskip("llama_cpp_py_sync")
    before = contents(workplace)
    asked = json.dumps([["prune", *arguments] for _, *arguments in MISTAKES])
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=workplace, input=asked, capture_output=True, text=True)
    assert done.stdout == f"{'2 ' * len(MISTAKES)}[]\n", done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("evoprune: ")]
    told = dict(zip(MISTAKES, lines, strict=True))
    assert {mistake: line for mistake, line in told.items() if mistake[0] not in line} == {}
    assert contents(workplace) == before


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def test_a_missing_package_is_named_with_a_command_that_installs_it(file, monkeypatch):
    monkeypatch.setattr(ggml, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install"):
        Prune(parser("prune").parse_args(["prune", str(file), "--remove=50%"]))
