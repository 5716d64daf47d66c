"""One run that is killed, resumed, and compared with one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evoprune.experiment import registry
from evoprune.records import recorded
from tests.patient import marks
from tests.runs import without_times

KINDS = ("main", "busy", "idle")
BACKENDS = ("processes", "scoop", "dask")

_EXPERIMENT = """\
plugins: [tests.patient]
problem: {{use: "tests.patient:PatientBenchmark", function: rastrigin, dimensions: {dimensions}, seconds: 0.03,
          log: {log}, slow_above: 3.5}}
population: 9
generations: {generations}
max_failures: 1
"""

_LIMIT = 120.0  # seconds after which a run hangs
_STALL = 10.0  # seconds without a result after which a run is to stop
_STILL = 0.03  # seconds without a mark that make a worker idle: longer than between two evaluations

Run = tuple[list[dict[str, Any]], dict[str, Any]]


@dataclass
class Outcome:
    """``code``: of the killed run. ``cut``: its last line is cut. ``again``: the genomes that were scored twice."""

    kind: str
    backend: str
    code: int | None = None
    cut: bool = False
    same: bool = False
    again: list[Any] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    hung: bool = False


def undisturbed(folder: Path, wide: bool) -> Run:
    """History and result of a run that is not killed."""
    trial = Trial(folder / f"whole-{wide}", "none", "serial", wide)
    trial.start()
    trial.end()
    return trial.found()


class Trial:
    """A run in ``folder``; ``writing``: with lines that take the longest to write, and killed while it writes one."""

    def __init__(self, folder: Path, kind: str, backend: str, writing: bool) -> None:
        self._folder, self._kind, self._backend, self.writing = folder, kind, backend, writing
        self._log, self._run = folder / "log", folder / "run"

    def outcome(self, rng: random.Random, whole: Mapping[bool, Run]) -> Outcome:
        """Start, kill, resume if need be, and compare with the run of the same kind in ``whole``."""
        for _ in range(20):  # until a kill hits what it is meant to hit
            self.start()
            if self._kill(rng):
                break
            self.end()
        else:
            raise RuntimeError(f"{self._backend}: never was the main process or a worker {self._kind}")
        end = Outcome(self._kind, self._backend)
        end.code = self.end()
        end.left = self._wait_for_orphans()
        if end.code is not None and end.code != 0:
            history = (self._run / "history.jsonl").read_bytes()
            end.cut = not history.endswith(b"\n")
            whole_lines = [line for line in history.splitlines(keepends=True) if line.endswith(b"\n")]
            held = [line["genome"] for line in map(json.loads, whole_lines) if "genome" in line]
            self._log.unlink()
            self._command("resume", self._run)
            end.hung = self.end() is None
            end.again = [mark.genome for mark in marks(self._log) if not mark.over and mark.genome in held]
            end.left += self._wait_for_orphans()
        end.hung |= end.code is None
        end.same = (self._run / "result.json").exists() and self.found() == whole[self.writing]
        return end

    def start(self) -> None:
        """Begin the run, anew."""
        subprocess.run(["rm", "-rf", self._folder], check=True)
        self._folder.mkdir()
        sizes = {"dimensions": 20_000, "generations": 1} if self.writing else {"dimensions": 4, "generations": 5}
        file = self._folder / "experiment.yaml"
        file.write_text(_EXPERIMENT.format(log=self._log, **sizes))
        self._command("run", file, "--runs-dir", self._folder, "--name", "run")

    def end(self) -> int | None:
        """The exit code; None if it had to be killed, as it hung."""
        try:
            self._process.communicate(timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            for pid in self._processes():
                _killed(pid)
            self._process.communicate()
            return None
        return self._process.returncode

    def found(self) -> Run:
        """History and result, times aside."""
        result = json.loads((self._run / "result.json").read_text())
        times = ("seconds", "seconds_evaluating")
        return without_times(recorded.lines(self._run / "history.jsonl")), {k: result[k] for k in result.keys() - times}

    def _command(self, *arguments: object) -> None:
        workers = [] if self._backend == "serial" else ["-n", "2", "--stall-after", str(_STALL)]
        command = [sys.executable, "-m", "evoprune", *arguments, "--map", self._backend, *workers]
        environment = os.environ | {"PYTHONPATH": str(registry.HOME.parent), "EVOPRUNE_TRIAL": str(self._folder)}
        silent = subprocess.DEVNULL
        self._process = subprocess.Popen(
            list(map(str, command)), stdout=silent, stderr=silent, env=environment, start_new_session=True
        )

    def _kill(self, rng: random.Random) -> bool:
        """Kill the main process or a worker; False if the run ended before, or the wrong one was hit."""
        status, history = self._run / "status.json", self._run / "history.jsonl"
        if not self._await(lambda: status.exists() and history.exists() and self._log.exists()):
            return False
        main = int(json.loads(status.read_text())["pid"])
        if self.writing:
            size = rng.randrange(5_000_000)
            if not self._await(lambda: history.stat().st_size > size, pause=0.0002):  # less than a line takes
                return False
            return _killed(main)
        count = rng.randrange(4, 70)
        if not self._await(lambda: len(marks(self._log)) >= count):
            return False
        if self._kind == "main":
            time.sleep(rng.uniform(0, 0.03))
            return _killed(main)
        victim: list[int] = []
        if not self._await(lambda: victim.extend(self._workers(main)) or bool(victim)) or not _killed(victim[0]):
            return False
        return self._kind == ("idle" if self._last_marks()[victim[0]] else "busy")

    def _workers(self, main: int) -> list[int]:
        """The workers that are at an evaluation, or that are not and stay so for a while."""
        before = self._last_marks()
        if self._kind == "idle":
            time.sleep(_STILL)
            now = self._last_marks()
            return [pid for pid, over in now.items() if over and before.get(pid) and pid != main]
        return [pid for pid, over in before.items() if not over and pid != main]

    def _last_marks(self) -> dict[int, bool]:
        """For each process that has evaluated, whether its last evaluation is over."""
        return {int(mark.worker.split(":")[1]): mark.over for mark in marks(self._log)}

    def _await(self, condition: Callable[[], bool], pause: float = 0.002) -> bool:
        """Wait for ``condition``; False if the run ends first."""
        while not condition():
            if self._process.poll() is not None:
                return False
            time.sleep(pause)
        return True

    def _processes(self) -> list[int]:
        """The processes of this trial that still are."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # gone, or another user's
                mine = f"EVOPRUNE_TRIAL={self._folder}\0".encode() in (process / "environ").read_bytes()
                if mine and ") Z " not in (process / "stat").read_text():
                    found.append(int(process.name))
        return found

    def _wait_for_orphans(self) -> list[int]:
        """The processes that are still there when all had time to notice that the run has ended."""
        end = time.monotonic() + _LIMIT / 2
        while (left := self._processes()) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in left:
            _killed(pid)
        return left


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
