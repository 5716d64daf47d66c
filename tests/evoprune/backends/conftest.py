"""A problem that tells where it was scored, and misbehaves as a test wants."""

import os
import signal
from pathlib import Path

import pytest

WORKSHOP = """
import fcntl
import math
import os
import signal
import time
from pathlib import Path
from pydantic import Field
from evoprune import Evaluation
from evoprune.problems.benchmark import Benchmark, BenchmarkSettings
from tests.runs import draw_nothing

draw_nothing()

class WorkshopSettings(BenchmarkSettings):
    device: str = "auto"
    folder: str = Field("", description="where marks are left, and where a gate may be")
    trouble: str = "none"
    when_above: float = Field(4.0, description="the first gene above which there is trouble")

class Workshop(Benchmark):
    Settings = WorkshopSettings

    def evaluate(self, genome):
        settings = self.settings
        if settings.folder:
            with open(Path(settings.folder) / "scored", "a") as log:
                log.write(repr(list(genome)) + "\\n")
            self.pass_gate(Path(settings.folder))
        if settings.trouble == "overlap":
            with open(Path(settings.folder) / f"busy-{os.getpid()}", "w") as busy:
                fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where another thread holds it
                time.sleep(0.01)
        if genome[0] > settings.when_above:
            self.trouble(genome)
        where = {"device": settings.device, "threads": os.environ.get("OMP_NUM_THREADS"), "pid": os.getpid()}
        evaluation = super().evaluate(genome)
        return Evaluation(evaluation.values, measures=where if settings.trouble == "tell" else {})

    def pass_gate(self, folder):
        mark = folder / f"held-{os.getpid()}"
        while self.begun(folder) > self.admitted(folder):
            mark.touch()
            time.sleep(0.01)
        mark.unlink(missing_ok=True)

    def begun(self, folder):
        return len((folder / "scored").read_text().splitlines())

    def admitted(self, folder):
        try:
            return int((folder / "gate").read_text())
        except FileNotFoundError:
            return math.inf

    def trouble(self, genome):
        mark = Path(self.settings.folder) / f"tried-{genome[0]!r}"
        if self.settings.trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.settings.trouble == "hang":
            time.sleep(1000)
        if self.settings.trouble == "fail once" and not mark.exists():
            mark.write_text(str(os.getpid()))
            raise RuntimeError("not today")
"""


@pytest.fixture
def workshop(plugin, write, tmp_path):
    """An experiment on the problem above."""
    plugin("workshop_problem", WORKSHOP)
    return write(
        """
        plugins: [workshop_problem]
        problem: {use: "workshop_problem:Workshop", function: rastrigin, dimensions: 4}
        population: 12
        generations: 3
        max_failures: 1
        """,
        "workshop.yaml",
    )


@pytest.fixture
def whole(run, workshop, tmp_path):
    """The folder of a run on the workshop that nothing happened to, in this process."""
    answer = run(workshop, f"problem.folder={tmp_path}", name="whole")
    assert answer.code == 0, answer.err
    return answer.folder


@pytest.fixture
def run_by(start, tmp_path):
    """Starts an experiment in the folder ``name`` with a backend's ``options``; returns the process and the folder."""

    def call(options, file, *settings, name="run"):
        folder = tmp_path / "runs" / name
        sets = [option for setting in settings for option in ("--set", setting)]
        process = start("run", file, "--runs-dir", folder.parent, "--name", name, *sets, *options.split())
        return process, folder

    return call


class Gate:
    """Holds evaluations up, so that a test can act while workers are at work, however fast they are."""

    def __init__(self, folder):
        self._folder = folder

    def admit(self, evaluations):
        """Let so many more pass than have begun."""
        for mark in self._folder.glob("held-*"):  # of the killed; whoever still waits leaves another
            mark.unlink(missing_ok=True)
        scored = self._folder / "scored"
        begun = len(scored.read_text().splitlines()) if scored.exists() else 0
        new = self._folder / "new"
        new.write_text(str(begun + evaluations))
        new.replace(self._folder / "gate")  # in one step: an evaluation may be looking

    def held(self):
        """The processes that wait at the gate."""
        return {int(mark.name.removeprefix("held-")) for mark in self._folder.glob("held-*")}

    def open(self):
        """Let all through."""
        (self._folder / "gate").unlink()


@pytest.fixture
def gate(tmp_path):
    """The gate of the experiments whose ``problem.folder`` is ``tmp_path``."""
    return Gate(tmp_path)


@pytest.fixture
def alive(tmp_path):
    """The processes that this test started and that still are, by the path that it gave them."""

    def call():
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                zombie = ") Z " in (process / "stat").read_text()
                if str(tmp_path).encode() in (process / "environ").read_bytes() and not zombie:
                    found.append(int(process.name))
            except OSError:
                continue  # gone, or another user's
        return [pid for pid in found if pid != os.getpid()]

    yield call
    for pid in call():
        os.kill(pid, signal.SIGKILL)
