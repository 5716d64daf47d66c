"""A problem that tells where it was scored, and misbehaves as a test wants."""

import os
import signal
from pathlib import Path

import pytest

WORKSHOP = """
import fcntl
import os
import signal
import time
from pathlib import Path
from pydantic import Field
from evoprune import Evaluation
from problems.benchmark.problem import Benchmark, BenchmarkSettings

class WorkshopSettings(BenchmarkSettings):
    device: str = "auto"
    folder: str = Field("", description="where marks are left")
    seconds: float = 0.0
    trouble: str = "none"
    when_above: float = Field(4.0, description="the first gene above which there is trouble")

class Workshop(Benchmark):
    Settings = WorkshopSettings

    def cost(self, genome):
        return abs(genome[0])

    def evaluate(self, genome):
        settings = self.settings
        if settings.folder:
            with open(Path(settings.folder) / "scored", "a") as log:
                log.write(repr(list(genome)) + "\\n")
        if settings.trouble == "overlap":
            with open(Path(settings.folder) / "busy", "w") as busy:
                fcntl.flock(busy, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where another evaluation holds it
                time.sleep(settings.seconds)
        if genome[0] > settings.when_above:
            self.trouble(genome)
        where = {"device": settings.device, "threads": os.environ.get("OMP_NUM_THREADS"), "pid": os.getpid()}
        evaluation = super().evaluate(genome)
        return Evaluation(evaluation.values, measures=where if settings.trouble == "tell" else {})

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
def run_by(start, tmp_path):
    """Starts an experiment in the folder ``name`` with a backend's ``options``; returns the process and the folder."""

    def call(options, file, *settings, name="run"):
        folder = tmp_path / "runs" / name
        sets = [option for setting in settings for option in ("--set", setting)]
        process = start("run", file, "--runs-dir", folder.parent, "--name", name, *sets, *options.split())
        return process, folder

    return call


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
