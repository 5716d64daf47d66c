"""Kill commands after their first output, give them again, and compare with commands that were not killed.

    python -m tests.benchmarks.kills                                    # all cases, 20 kills each, as a table
    python -m tests.benchmarks.kills scoop export.gguf --kills 5 --python ../other/.venv/bin/python

``--python``: the interpreter of another installation. A command went on if it, or the one that continues it, ended with
code 0 and the same files, history (times aside), result and bytes of exports, and no process stayed. The model is tiny.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.common import head, row
from tests.problems.language_model.gguf.models import byte_tokenizer, random_gpt2
from tests.runs import lines, result
from tests.spaced import SPACES, experiment

SLOW = """
import os, time
from pathlib import Path
from evoprune.problems.benchmark import Benchmark

class Slow(Benchmark):
    def evaluate(self, genome):
        mark = Path(os.environ["KILLS"]) / f"busy-{os.getpid()}"
        mark.touch()
        time.sleep(0.02)
        mark.unlink(missing_ok=True)
        return super().evaluate(genome)
"""
SLOWLY = """
import functools, random, time
from tests import spaced

def slowly(function):
    @functools.wraps(function)
    def scored(*values, **named):
        time.sleep(0.01)
        return function(*values, **named)
    return scored

globals().update({each.__name__: slowly(each) for each in spaced.FUNCTIONS.values()})

def noisy_length(tour):
    return slowly(spaced.length)(tour) + random.gauss(0.0, 0.1)
"""
FILES = {
    "slow.py": SLOW,
    "slowly.py": SLOWLY,
    **{f"{name}.yaml": yaml.safe_dump(experiment(name, "slowly")) for name in SPACES},
    "all.txt": "".join(f"{number} is {number % 7} more than {number - number % 7}.\n" for number in range(1500)),
}
PROBLEMS = Path(__file__).resolve().parents[2] / "problems"
SEARCH = f"{PROBLEMS}/rastrigin.yaml --set plugins=[slow] --set problem.use=slow:Slow --name run --set population=20"
SHORT = "--set problem.model=tiny --set population=4 --set generations=1 --name run " + " ".join(
    f"--set problem.{role}_text.{key}" for role in ("search", "report") for key in ("window=32", "windows=2")
)
_STAYING = 15.0  # seconds in which the processes of a killed command are to end


@dataclass(frozen=True)
class Case:
    """A ``command``, killed once ``first`` is there, and continued by ``again``, or itself.

    ``victims``: killed in turn. ``prepared``: a command that comes before. ``repeated``: commands that make the same
    from the experiment, where it depends on the speed of the machine; in place of the command that was not killed.
    """

    command: str
    first: str
    again: str = ""
    victims: Sequence[str] = ("group", "command")
    prepared: str = ""
    repeated: Sequence[str] = ()


def search(options: str, *victims: str) -> Case:
    command = f"run {SEARCH} --set generations=10 --threads 1 {options}"
    return Case(command, "runs/run/history.jsonl", "resume runs/run", ("group", "worker", "command", *victims))


def spaced(name: str, options: str = "") -> Case:
    command = f"run {name}.yaml --name run --set generations=10 --threads 1 --map processes -n 2 {options}"
    return Case(command, "runs/run/history.jsonl", "resume runs/run")


def export(out: str, experiment: str) -> Case:
    prepared = f"run {PROBLEMS}/{experiment} {SHORT}"
    return Case(f"export runs/run {out} --untimed", f".{out}.*.part/*", prepared=prepared)


def prune(goal: str, out: str, first: str) -> Case:
    repeated = "run {0}/runs/run/config.yaml --name run", f"export runs/run {out} --untimed"
    return Case(f"prune tiny --text all.txt --name run --time 20s {goal} --out {out}", first, repeated=repeated)


ABLATE = f"ablate {SEARCH} --vary operators.mate=blend,uniform --seeds 2 --budget 60"
CASES = {
    "processes": search("--map processes -n 2"),
    "scoop": search("--map scoop -n 2", "origin"),
    "dask": search("--map dask -n 2"),
    **{name: spaced(name) for name in SPACES},
    "noise": spaced("permutation", "--set problem.noisy=true --set problem.call=slowly:noisy_length"),
    "export.folder": export("out", "gpt2_mini.yaml"),
    "export.gguf": export("out.gguf", "gpt2_mini_gguf.yaml --set problem.calibration_text.window=32"),
    "prune.folder": prune("--sparsity 50%", "out", "runs/run/history.jsonl"),
    "prune.gguf": prune("--bits 6", "out.gguf", "out.gguf"),
    "ablate": Case(ABLATE, "runs/run/*/*/result.json"),
}


class Trials:
    """The trials of ``case`` in folders of ``home``, by the interpreter ``python``."""

    def __init__(self, case: Case, python: str, home: Path) -> None:
        self._case, self._python, self._home = case, python, home
        for part in (random_gpt2(), byte_tokenizer()):
            part.save_pretrained(home / "given" / "tiny")
        for name, text in FILES.items():
            (home / "given" / name).write_text(text)
        if case.prepared:
            assert self._start(case.prepared, home / "given").wait() == 0, _last_line(home / "given")
        process, whole = self._until_first("whole")
        begun = time.monotonic()
        assert process.wait() == 0, _last_line(whole)
        self._span, self._expected = time.monotonic() - begun, outcome(whole)

    def _start(self, command: str, folder: Path) -> subprocess.Popen[bytes]:
        own = {
            "PYTHONPATH": f"{folder}{os.pathsep}{PROBLEMS.parent}",
            "KILLS": str(folder),
            "EVOPRUNE_CACHE": str(self._home / "cache"),
        }
        words, environment = [self._python, "-m", "evoprune", *command.split()], os.environ | own
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, env=environment, start_new_session=True)

    def _until_first(self, name: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start the command in a new folder; return it once its first output is there."""
        folder = Path(shutil.copytree(self._home / "given", self._home / name))
        process = self._start(self._case.command, folder)
        while not any(folder.glob(self._case.first)):
            assert process.poll() is None, _last_line(folder)
            time.sleep(0.002)
        return process, folder

    def kill(self, number: int, draws: random.Random) -> str:
        """Kill a command; return the victim and why it did not go on: empty if it did."""
        case, victim = self._case, self._case.victims[number % len(self._case.victims)]
        while True:
            process, folder = self._until_first(str(number))
            time.sleep(draws.uniform(0.0, self._span))
            killed, code = _kill(victim, process, folder), process.wait()
            if killed and (case.again or outcome(folder).keys() != self._expected.keys()):
                break
            shutil.rmtree(folder)  # it had ended before, or written everything
        if code:
            code = self._start(case.again or case.command, folder).wait()
        staying = _end_processes(folder)
        why = f"exit code {code}: {_last_line(folder)}" if code else staying
        if not why and (differing := self._differing(folder)):
            why = f"differ: {', '.join(differing)}"
        if not why:
            shutil.rmtree(folder)
        return why and f"{victim}: {why}"

    def _differing(self, folder: Path) -> list[str]:
        """Return the files in ``folder`` that are not as of a command that was not killed."""
        found, expected = outcome(folder), self._expected
        if self._case.repeated and found.keys() == expected.keys():
            again = Path(shutil.copytree(self._home / "given", f"{folder}-again"))
            for command in self._case.repeated:
                assert self._start(command.format(folder), again).wait() == 0, _last_line(again)
            expected = found | {name: made for name, made in outcome(again).items() if not name.endswith(".json")}
            shutil.rmtree(again)
        return [name for name in found | expected if found.get(name, ...) != expected.get(name, ...)]


def _kill(victim: str, process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Kill the ``victim`` of a command; return False if the command has ended."""
    origin = -1
    with suppress(OSError, ValueError):
        origin = json.loads((folder / "runs/run/status.json").read_text())["pid"]
    while process.poll() is None:
        busy = {int(mark.name.removeprefix("busy-")) for mark in folder.glob("busy-*")}
        victims = {"worker": busy - {origin}, "origin": {origin}}.get(victim, {process.pid})
        with suppress(ProcessLookupError):
            for pid in [*victims][:1]:
                (os.killpg if victim == "group" else os.kill)(pid, signal.SIGKILL)
                return True
    return False


def _end_processes(folder: Path) -> str:
    """Return how many processes in ``folder`` do not end by themselves, and end them; empty for none."""
    end = time.monotonic() + _STAYING
    while staying := [process for process in Path("/proc").glob("[0-9]*") if _works_in(folder, process)]:
        if time.monotonic() > end:
            for process in staying:
                with suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)
            return f"{len(staying)} processes stay"
        time.sleep(0.1)
    return ""


def _works_in(folder: Path, process: Path) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        return (process / "cwd").resolve(strict=True) == folder.resolve()
    return False


def _last_line(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace").splitlines()[-1]


def outcome(folder: Path) -> dict[str, Any]:
    """Return what commands on one experiment share, by file: the content of some, None of others."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] not in {"__pycache__", "tiny", "log", *FILES} and not path.name.startswith("busy-"):
            known = {"history.jsonl": lines, "result.json": result}.get(path.name)
            exact = hashlib.sha256(path.read_bytes()).digest() if path.suffix in {".gguf", ".safetensors"} else None
            found[str(name)] = known(path.parent) if known else exact
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    print(head("command", "kills", "went on", "why others did not"), flush=True)
    for name in options.cases or CASES:
        home, draws = Path(tempfile.mkdtemp(prefix=f"kills-{name}-")), random.Random(options.seed)
        trials = Trials(CASES[name], options.python, home)
        faults = Counter(filter(None, (trials.kill(number, draws) for number in range(options.kills))))
        why = "; ".join(f"{count} {fault}" for fault, count in faults.items())
        print(row(name, options.kills, options.kills - faults.total(), why and f"{why} ({home})"), flush=True)
        if not why:
            shutil.rmtree(home)


if __name__ == "__main__":
    main()
