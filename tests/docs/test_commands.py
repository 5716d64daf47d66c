"""Every command in README and docs is one that evoprune understands; those that take seconds are run."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

from evoprune.ablation.grid import variants
from evoprune.cli.main import main, parser
from evoprune.errors import InputError
from evoprune.experiment import config, registry
from evoprune.experiment.resolve import resolve_file
from tests.docs.conftest import PAGES, ROOT, SHELLS, blocks, name

OURS = ("python", "-m", "evoprune")


def commands(page: Path) -> list[list[str]]:
    """The words of each command line in the page's blocks of commands, comments and continuations resolved."""
    lines = [
        line
        for block in blocks(page)
        if block.language in SHELLS
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.startswith(("python -m ", "make "))
    ]
    return [shlex.split(line, comments=True) for line in lines]


ALL = [pytest.param(words, id=f"{name(page)}: {' '.join(words)}") for page in PAGES for words in commands(page)]


def experiment(file: str) -> bool:
    """Whether ``file`` is here; pages name experiments of the reader's, too."""
    try:
        return config.find(file).is_file()
    except InputError:
        return False


def of_evoprune(words):
    return tuple(words[:3]) == OURS


@pytest.mark.parametrize("words", [param for param in ALL if of_evoprune(param.values[0])])
def test_is_understood_and_its_experiment_is_valid(words, capsys):
    arguments = words[3:]
    options = parser().parse_args(arguments)
    if options.command == "run" and experiment(options.file):
        assert main([*arguments, "--print-config"]) == 0, capsys.readouterr().err
    if options.command in {"ablate", "front"} and experiment(options.file):
        for variant in variants(options.vary):
            resolve_file(options.file, [*options.set, *variant.settings])


@pytest.mark.parametrize("words", [param for param in ALL if not of_evoprune(param.values[0])])
def test_targets_and_modules_are_there(words):
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.M)
    else:
        assert importlib.util.find_spec(words[2])


def takes_seconds(options) -> bool:
    """What neither loads a model nor names a run that this test has not made."""
    if options.command in {"ls", "validate", "cache"}:
        return True
    if options.command == "run":
        return options.file == "problems/rastrigin.yaml"
    folders = {"status": "folders", "report": "runs"}
    named = getattr(options, folders.get(options.command, ""), None)
    return named is not None and all(path.is_dir() for path in (named if isinstance(named, list) else [named]))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_takes_seconds_does_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in filter(of_evoprune, commands(page)):
        options = parser().parse_args(words[3:])
        if getattr(options, "tensorboard", False) and importlib.util.find_spec("tensorboard") is None:
            continue
        if takes_seconds(options):
            assert main(words[3:]) == 0, capsys.readouterr().err


def test_the_page_on_watching_runs_all_of_its_commands(tmp_path, monkeypatch):
    (tmp_path / "runs" / "watched").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    found = [parser().parse_args(words[3:]) for words in commands(ROOT / "docs" / "watching.md")]
    assert len(found) > 5
    assert all(map(takes_seconds, found))


def test_extras_that_pages_name_are_declared():
    text = (registry.HOME / "setup.cfg").read_text()
    declared = set(re.findall(r"^(\w+) =$", text.split("[options.extras_require]")[1].split("\n[")[0], re.M))
    named = {extra for page in PAGES for extra in re.findall(r"evoprune\[(\w+)\]", page.read_text())}
    assert named
    assert named <= declared


def test_make_is_what_the_ci_runs():
    called = re.findall(r"^make (\w+)", (ROOT / ".ci" / "run").read_text(), re.M)
    assert {"lint", "test", "docs"} <= set(called)
    assert shutil.which("bash") is None or (ROOT / ".ci" / "run").stat().st_mode & 0o100
