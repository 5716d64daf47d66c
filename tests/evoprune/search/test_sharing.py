"""Processes that make the same search in one folder share it, whichever of them is killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evoprune import InputError
from tests.runs import lines, result, wait_until

pytestmark = pytest.mark.slow

SCRIPT = """
import os, sys, time
from evoprune import Gene, minimize

def f(x, y):
    with open(sys.argv[1] + ".calls", "a") as file:
        file.write(f"{os.getpid()} {x} {y}\\n")
    time.sleep(0.01)
    return x * x + abs(y)

if __name__ == "__main__":
    genes = [Gene("x", -1, 1), Gene("y", -1, 1)]
    folder, workers, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(minimize(f, genes, evaluations=200, seed=seed, workers=workers, folder=folder).values)
"""


def calls(folder):
    path = folder.with_name(f"{folder.name}.calls")
    return [line.split(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def begin(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    begun = []

    def begin(folder: Path, workers: int = 1, seed: int = 1) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(folder), str(workers), str(seed)]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("killed", "workers"), [(None, 1), (None, 2), ("searching", 1), ("helping", 1)])
def test_two_processes_make_one_search_and_a_kill_of_either_loses_nothing(begin, tmp_path, killed, workers):
    alone, folder = tmp_path / "alone", tmp_path / "shared"
    expected, errors = begin(alone).communicate(timeout=60)
    assert expected, errors
    both = [begin(folder), begin(folder, workers)]
    if killed:
        wait_until(lambda: {pid for pid, _ in calls(folder)} == {str(process.pid) for process in both})
        searching = json.loads((folder / "status.json").read_text())["pid"]
        wait_until(lambda: len(calls(folder)) > 40)
        (victim,) = [each for each in both if (each.pid == searching) == (killed == "searching")]
        os.kill(victim.pid, signal.SIGKILL)
        both.remove(victim)
    for process in both:
        assert process.communicate(timeout=60)[0] == expected
    assert lines(folder) == lines(alone)
    assert result(folder) == result(alone)
    scored = [genome for _, genome in calls(folder)]
    assert {*scored} == {genome for _, genome in calls(alone)}
    again = len(scored) - len({*scored})  # the process that ends the search tries the best once more
    assert again == 1 if not killed else again <= 4
    assert len({pid for pid, _ in calls(folder)}) in (1 + workers, 2 + workers)


def test_another_search_in_the_folder_is_refused(begin, tmp_path):
    begin(tmp_path / "run").communicate(timeout=60)
    before = (tmp_path / "run" / "history.jsonl").read_bytes()
    _, errors = begin(tmp_path / "run", seed=2).communicate(timeout=60)
    assert InputError.__name__ in errors
    assert "seed" in errors
    assert (tmp_path / "run" / "history.jsonl").read_bytes() == before
