"""Runs the command line in this process, on small experiments in a folder of the test's own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from evoprune.api import runs
from evoprune.backends import evaluation
from evoprune.cli import main
from evoprune.experiment import registry
from evoprune.records import recorded
from evoprune.search import toolbox

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
        return list(recorded.lines(self.folder / "history.jsonl"))

    @property
    def candidates(self) -> list[dict[str, Any]]:
        return [line for line in self.history if "candidate" in line]

    @property
    def generations(self) -> list[dict[str, Any]]:
        return [line for line in self.history if "median" in line]

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _restore_worker(monkeypatch):
    """A run assigns a device and threads to the process that it runs in, and keeps its problem there."""
    monkeypatch.setattr(evaluation, "this_worker", worker := evaluation.Worker())
    monkeypatch.setattr(toolbox, "this_worker", worker)
    monkeypatch.setattr(runs, "this_worker", worker)
    path = list(sys.path)
    environment = dict(os.environ)
    yield
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    sys.path[:] = path


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
def run(evoprune, tmp_path):
    """Runs an experiment into the folder ``name``, each of ``settings`` given to ``--set``."""

    def call(file, *settings, name="run"):
        options = [option for setting in settings for option in ("--set", setting)]
        folder = tmp_path / "runs" / name
        return evoprune("run", file, "--runs-dir", folder.parent, "--name", name, *options, folder=folder)

    return call


@pytest.fixture
def ablate(tmp_path):
    """Compares variants of a test function on two seeds, in the folder ``name``; the runs themselves draw nothing."""

    def call(*arguments, name="a"):
        common = ["--seeds", "2", "--budget", "60", "--runs-dir", str(tmp_path), "--name", name]
        settings = ["--set", "population=10", "--set", "problem.dimensions=3"]
        return main(["ablate", "problems/rastrigin.yaml", *common, *settings, *arguments]), tmp_path / name

    return call


@pytest.fixture
def start(tmp_path):
    """Starts the command line in a process group of its own, which ends with the test."""
    started = []

    def call(*arguments, prefix=("-m", "evoprune"), **options):
        command = [sys.executable, *prefix, *map(str, arguments)]
        path = os.pathsep.join([str(tmp_path), str(registry.HOME.parent)])
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a module that experiments may list under ``plugins``."""
    monkeypatch.syspath_prepend(tmp_path)

    def module(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path

    return module


COUNTED = """
import os
import random
from pathlib import Path
from pydantic import Field
from evoprune import Evaluation, Genes, Problem, Settings

class CountedSettings(Settings):
    log: str = Field(description="a file that gets a line for each evaluation")
    dimensions: int = 3

class Counted(Problem):
    Settings = CountedSettings

    genes = property(lambda self: Genes.real([f"x{n}" for n in range(self.settings.dimensions)], 0.0, 1.0))
    def references(self): return {"zero": [0.0] * self.settings.dimensions, "one": [1.0] * self.settings.dimensions}

    def evaluate(self, genome):
        with open(self.settings.log, "a") as log:
            log.write(repr(list(genome)) + "\\n")
        if genome[0] > 0.7:
            raise RuntimeError("too much")
        return Evaluation((sum((gene - 0.3) ** 2 for gene in genome),), work=0.1, measures={"sum": sum(genome)})
"""


class Counted(NamedTuple):
    file: Path
    log: Path

    @property
    def scored(self) -> list[list[float]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def counted(plugin, write, tmp_path):
    """A small experiment whose problem keeps a list of what it scored, in whatever process."""
    plugin("counted_evaluations", COUNTED)
    text = f"""
        plugins: [counted_evaluations]
        problem: {{use: "counted_evaluations:Counted", log: {tmp_path / "scored"}}}
        population: 6
        generations: 4
        seed: 3
        max_failures: 0.9
        operators: {{mutate: {{use: gaussian, sigma: 0.2}}}}
        """
    (tmp_path / "scored").touch()
    return Counted(write(text, "counted.yaml"), tmp_path / "scored")
