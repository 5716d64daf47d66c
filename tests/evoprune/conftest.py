"""Runs the command line in this process, on small experiments in a folder of the test's own."""

from __future__ import annotations

import json
import signal
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evoprune import history
from evoprune.cli import main

SPHERE = """\
problem: {use: benchmark, function: sphere, dimensions: 3}
population: 8
generations: 4
seed: 1
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str
    folder: Path

    @property
    def history(self) -> list[dict[str, Any]]:
        return list(history.read(self.folder / "history.jsonl"))

    @property
    def candidates(self) -> list[dict[str, Any]]:
        return [line for line in self.history if "candidate" in line]

    @property
    def generations(self) -> list[dict[str, Any]]:
        return [line for line in self.history if "median" in line]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _restore_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def evoprune(capsys, tmp_path):
    """Calls the command line with the given arguments."""

    def call(*arguments, folder=tmp_path):
        code = main([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr(), folder)

    return call


@pytest.fixture
def write(tmp_path):
    """Writes an experiment's text to a file."""

    def to_file(text, name="experiment.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def sphere(write):
    """A small experiment that a run takes a few milliseconds for."""
    return write(SPHERE, "sphere.yaml")


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take longer than all the rest of a small run."""
    monkeypatch.setattr("evoprune.run.draw_convergence", lambda *_: None)


@pytest.fixture
def run(evoprune, tmp_path):
    """Runs an experiment into the folder ``name``, each of ``settings`` given to ``--set``."""

    def call(file, *settings, name="run"):
        options = [option for setting in settings for option in ("--set", setting)]
        folder = tmp_path / "runs" / name
        return evoprune("run", file, "--runs-dir", folder.parent, "--name", name, *options, folder=folder)

    return call


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a module that experiments may list under ``plugins``."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path

    return module
