"""Kills runs, workers and all, and checks that nothing is lost; prints a table, exits with 1 if a law is broken.

Run it from the project's folder; 60 kills take about ten minutes:

    python -m tests.kills.kills
    python -m tests.kills.kills --kills 20 --only idle

Every kill is a SIGKILL. Kinds, in turn for processes, scoop and dask:

    main   the process that holds the run, at a random moment; every other time in the middle
           of a write, in a run whose lines are so long that a kill can cut one
    busy   a worker that is at an evaluation
    idle   a worker that has nothing to do while another one is at the generation's last

A run that a kill ended is resumed. Laws: the history and the result are those of a run that was
not disturbed, times aside; no candidate that the history held is scored again; no process stays
behind; a killed main process is a failure; with processes and dask a killed worker is none; with
scoop the run ends, or stops with exit code 3; nothing hangs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from evoprune.experiment import registry
from evoprune.records import recorded
from tests.patient import marks
from tests.runs import without_times

KINDS = ("main", "busy", "idle")
BACKENDS = ("processes", "scoop", "dask")
LIMIT = 120.0  # seconds after which a run hangs
STALL = 10.0  # seconds without a result after which a run is to stop
STILL = 0.03  # seconds without a mark that make a worker idle: longer than between two evaluations

EXPERIMENT = """\
plugins: [tests.patient]
problem: {{use: "tests.patient:PatientBenchmark", function: rastrigin, dimensions: {dimensions}, seconds: 0.03,
          log: {log}, slow_above: 3.5}}
population: 9
generations: {generations}
max_failures: 1
"""

LAWS = {
    "the history or the result differs": lambda end: end.same,
    "candidates of the history were scored again": lambda end: not end.again,
    "processes stayed behind": lambda end: not end.left,
    "it hung": lambda end: not end.hung,
    "exit code 0 on failure": lambda end: end.kind != "main" or end.code != 0,
    "it did not go on without its worker": lambda end: (
        end.kind == "main" or end.code in ([0, 3] if end.backend == "scoop" else [0])
    ),
}


@dataclass
class Outcome:
    """``code``: of the killed run. ``cut``: its last line is cut. ``again``: the genomes that were scored twice."""

    kind: str
    backend: str
    code: int | None = None
    cut: bool = False
    same: bool = False
    again: list = field(default_factory=list)
    left: list = field(default_factory=list)
    hung: bool = False


class Trial:
    """A run in ``folder``; ``writing``: with lines that take the longest to write, and killed while it writes one."""

    def __init__(self, folder, kind, backend, writing):
        self.folder, self.kind, self.backend, self.writing = folder, kind, backend, writing
        self.log, self.run = folder / "log", folder / "run"

    def outcome(self, rng, whole):
        """Start, kill, resume if need be, and compare with the run of the same kind in ``whole``."""
        for _ in range(20):  # until a kill hits what it is meant to hit
            self.start()
            if self.kill(rng):
                break
            self.end()
        else:
            raise RuntimeError(f"{self.backend}: never was the main process or a worker {self.kind}")
        end = Outcome(self.kind, self.backend, self.end())
        end.left = self.orphans()
        if end.code is not None and end.code != 0:
            lines = (self.run / "history.jsonl").read_bytes().splitlines(keepends=True)
            end.cut = not lines[-1].endswith(b"\n")
            known = [line["genome"] for line in map(json.loads, lines[:-1] if end.cut else lines) if "genome" in line]
            self.log.unlink()
            self.command("resume", self.run)
            end.hung = self.end() is None
            end.again = [mark.genome for mark in marks(self.log) if not mark.over and mark.genome in known]
            end.left += self.orphans()
        end.hung |= end.code is None
        end.same = (self.run / "result.json").exists() and self.found() == whole[self.writing]
        return end

    def start(self):
        subprocess.run(["rm", "-rf", self.folder], check=True)
        self.folder.mkdir()
        sizes = {"dimensions": 20_000, "generations": 1} if self.writing else {"dimensions": 4, "generations": 5}
        (self.folder / "experiment.yaml").write_text(EXPERIMENT.format(log=self.log, **sizes))
        self.command("run", self.folder / "experiment.yaml", "--runs-dir", self.folder, "--name", "run")

    def command(self, *arguments):
        workers = [] if self.backend == "serial" else ["-n", "2", "--stall-after", STALL]
        command = [sys.executable, "-m", "evoprune", *arguments, "--map", self.backend, *workers]
        environment = os.environ | {"PYTHONPATH": str(registry.HOME.parent), "EVOPRUNE_TRIAL": str(self.folder)}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(list(map(str, command)), env=environment, start_new_session=True, **silent)

    def end(self):
        """The exit code; None if it had to be killed, as it hung."""
        try:
            self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            for pid in self.processes():
                killed(pid)
            self.process.communicate()
            return None
        return self.process.returncode

    def found(self):
        """History and result, times aside."""
        result = json.loads((self.run / "result.json").read_text())
        untimed = {key: value for key, value in result.items() if not key.startswith("seconds")}
        return without_times(recorded.lines(self.run / "history.jsonl")), untimed

    def kill(self, rng):
        """Kill the main process or a worker; False if the run ended before, or the wrong one was hit."""
        status, history = self.run / "status.json", self.run / "history.jsonl"
        if not self.wait(lambda: status.exists() and history.exists() and self.log.exists()):
            return False
        main = json.loads(status.read_text())["pid"]
        if self.writing:
            size = rng.randrange(5_000_000)
            return self.wait(lambda: history.stat().st_size > size, pause=0.0002) and killed(main)
        count = rng.randrange(4, 70)
        if not self.wait(lambda: len(marks(self.log)) >= count):
            return False
        if self.kind == "main":
            time.sleep(rng.uniform(0, 0.03))
            return killed(main)
        victims = []
        if not self.wait(lambda: victims.extend(self.workers(main)) or victims) or not killed(victims[0]):
            return False
        return self.kind == ("idle" if self.over()[victims[0]] else "busy")

    def workers(self, main):
        """The workers that are at an evaluation, or that are not and stay so for a while."""
        before = now = self.over()
        if self.kind == "idle":
            time.sleep(STILL)
            now = self.over()
        idle = self.kind == "idle"
        return [pid for pid, over in now.items() if over == idle == before.get(pid) and pid != main]

    def over(self):
        """For each process that has evaluated, whether its last evaluation is over."""
        return {int(mark.worker.split(":")[1]): mark.over for mark in marks(self.log)}

    def wait(self, condition, pause=0.002):
        """Wait for ``condition``; False if the run ends first."""
        while not condition():
            if self.process.poll() is not None:
                return False
            time.sleep(pause)
        return True

    def processes(self):
        """The processes of this trial that still are."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # gone, or another user's
                mine = f"EVOPRUNE_TRIAL={self.folder}\0".encode() in (process / "environ").read_bytes()
                if mine and ") Z " not in (process / "stat").read_text():
                    found.append(int(process.name))
        return found

    def orphans(self):
        """The processes that are still there when all had time to notice that the run has ended; they are killed."""
        end = time.monotonic() + LIMIT / 2
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return [pid for pid in left if killed(pid)]


def killed(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def undisturbed(folder, wide):
    trial = Trial(folder / f"whole-{wide}", "none", "serial", wide)
    trial.start()
    trial.end()
    return trial.found()


def main(arguments=None):
    parser = argparse.ArgumentParser(description="kills runs and checks that nothing is lost")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--only", choices=KINDS, action="append", help="kinds of kills; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--jobs", type=int, default=1, help="trials at once; they mostly wait")
    options = parser.parse_args(arguments)
    kinds = options.only or KINDS
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(options.jobs) as pool:
        trials = []
        for number in range(options.kills):
            kind, turn = kinds[number % len(kinds)], number // len(kinds)
            backend = BACKENDS[(number + turn) % len(BACKENDS)]
            trials.append(Trial(Path(place) / str(number), kind, backend, writing=kind == "main" and turn % 2 == 0))
        whole = {wide: undisturbed(Path(place), wide) for wide in {trial.writing for trial in trials}}

        def kill(number):
            outcome = trials[number].outcome(random.Random(options.seed * 1_000_000 + number), whole)
            print(f"{number + 1}/{options.kills}: {outcome}", file=sys.stderr, flush=True)
            return outcome

        outcomes = list(pool.map(kill, range(options.kills)))
    print("\n".join(table(outcomes)), end="\n\n")
    broken = [f"BROKEN: {law}: {end}" for end in outcomes for law, kept in LAWS.items() if not kept(end)]
    print("\n".join(broken) or f"all laws kept by {len(outcomes)} kills")
    return 1 if broken else 0


def table(outcomes):
    groups = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind, outcome.backend].append(outcome)
    yield "| killed | backend | kills | ended by itself | exit code 3 | other failure | lines cut | scored again |"
    yield "|---|---|---|---|---|---|---|---|"
    for (kind, backend), ends in sorted(groups.items()):
        codes = [end.code for end in ends]
        counts = [len(ends), codes.count(0), codes.count(3), len(codes) - codes.count(0) - codes.count(3)]
        counts += [sum(end.cut for end in ends), sum(len(end.again) for end in ends)]
        yield f"| {kind} | {backend} | {' | '.join(map(str, counts))} |"


if __name__ == "__main__":
    sys.exit(main())
