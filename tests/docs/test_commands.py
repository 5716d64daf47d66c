"""Every command on the pages is understood; those that take seconds are run."""

from __future__ import annotations

import importlib
import json
import re
import subprocess

import pytest

from evoprune.ablation.runs import variants
from evoprune.cli.main import main, parser
from evoprune.console.errors import InputError
from evoprune.experiment import config
from evoprune.experiment.resolve import resolve_file
from tests.docs.conftest import PAGES, ROOT, blocks, commands, name

OURS = ["python", "-m", "evoprune"]


ALL = [pytest.param(words, id=f"{name(page)}: {' '.join(words)}") for page in PAGES for words in commands(page)]


def experiment(file: str) -> bool:
    """True if ``file`` is one of ours; pages name experiments of the reader's, too."""
    try:
        return config.find(file).is_file()
    except InputError:
        return False


@pytest.fixture(scope="module")
def understood():
    """Parses a command line of ours, less its first three words."""
    whole = parser()
    return lambda words: whole.parse_args(words[3:])


@pytest.mark.parametrize("words", ALL)
def test_is_understood_and_its_experiment_is_valid(words, understood, capsys):
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.M)
    elif words[:3] != OURS:
        importlib.import_module(words[2])
    else:
        options = understood(words)
        if options.command == "run" and experiment(options.file):
            assert main([*words[3:], "--print-config"]) == 0, capsys.readouterr().err
        if options.command in {"ablate", "front"} and experiment(options.file):
            for variant in variants(options.vary):
                resolve_file(options.file, [*options.set, *variant.settings])


def takes_seconds(options) -> bool:
    """True for what neither loads a model nor names a run that this test has not made."""
    if options.command in {"ls", "cache", "validate"}:
        return True
    if options.command == "run":
        return options.file == "problems/rastrigin.yaml"
    folders = {"status": "folders", "report": "runs"}
    named = getattr(options, folders.get(options.command, ""), None)
    return named is not None and all(path.is_dir() for path in (named if isinstance(named, list) else [named]))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_takes_seconds_does_what_the_page_says(page, understood, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    done = 0
    for words in commands(page):
        options = understood(words) if words[:3] == OURS else None
        if options and not getattr(options, "tensorboard", False) and takes_seconds(options):
            shorter = ["--set", "generations=3"] if options.command == "run" else []
            assert main([*words[3:], *shorter]) == 0, capsys.readouterr().err
            done += 1
    assert done > 4 or page.stem != "watching"


def test_extras_that_pages_and_messages_name_are_declared():
    text = (ROOT / "setup.cfg").read_text()
    declared = set(re.findall(r"^(\w+) =$", text.split("[options.extras_require]")[1].split("\n[")[0], re.M))
    code = [path for room in ("evoprune", "operators", "problems") for path in (ROOT / room).rglob("*.py")]
    named = {
        extra
        for path in [*PAGES, *code]
        for told in re.findall(r"evoprune\[([\w,]+)\]", path.read_text())
        for extra in told.split(",")
    }
    assert named
    assert named <= declared


TEXT = "{source: 'bundled:python-docs', split: %s, window: 64, windows: 8}"
FEWER = [
    "--set", f"problem.report_text={TEXT % 'test'}", "--set", f"problem.search_text={TEXT % 'validation'}",
    "--set", "budget=2048",
]  # fmt: skip
FIRST = {
    "gguf": FEWER,
    "joint": [
        *FEWER, "--set", "problem.calibration_text.windows=4", "--set", "problem.budget.at_most=1000000",
        "--set", "problem.transforms=[{use: sublayers, genes: block}, {use: channels, genes: model, step: 128,"
        "drop: false}, {use: types, types: [Q8_0, Q4_0, MXFP4]}]",
        "--set", "problem.recover.tokens=2048", "--set", "problem.recover.evaluations=1",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", FIRST)
def test_the_first_commands_give_a_file_that_llama_runs(page, tmp_path, monkeypatch, capsys):
    pytest.importorskip("gguf")
    pytest.importorskip("llama_cpp_py_sync")
    monkeypatch.chdir(tmp_path)
    run, export = commands(ROOT / "docs" / f"{page}.md")[:2]
    assert main([*run[3:], *FIRST[page]]) == 0, capsys.readouterr().err
    assert main([*export[3:], "--untimed"]) == 0, capsys.readouterr().err
    result = json.loads((tmp_path / export[4] / "result.json").read_text())
    facts = json.loads((tmp_path / export[5]).with_suffix(".evoprune.json").read_text())
    assert facts["fit"]
    assert facts["check"]["first_other_token"] is None
    if page == "joint":  # the other has a limit in parameters, which counts no header
        assert (tmp_path / export[5]).stat().st_size == result["cost"]["bytes"]["evolved"]
        row = result["recovered"]["evolved"]
        assert row["perplexity_after"] < row["perplexity_before"]
        assert facts["check"]["perplexity"] == pytest.approx(row["perplexity_after"], rel=1e-2)


CLUSTERS = ROOT / "docs" / "clusters.md"


def test_the_shell_can_read_the_scripts():
    for block in blocks(CLUSTERS):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr


def test_dask_knows_the_options():
    cli = pytest.importorskip("distributed.cli")
    found = [words[3:] for words in commands(CLUSTERS) if words[:3] == ["python", "-m", "dask"]]
    assert found
    for command, *arguments in found:
        assert importlib.import_module(f"{cli.__name__}.dask_{command}").main.make_context("", arguments)
