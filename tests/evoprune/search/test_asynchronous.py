"""The asynchronous search: no worker waits, and its order is recorded and replayed."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time

import pytest
from deap import benchmarks

from evoprune import Gene, InputError, Search, minimize
from evoprune.backends import Serial
from evoprune.search import run as runs
from tests.runs import candidates, lines, wait_until

GENES = [Gene("x", -5, 5), Gene("y", -5, 5), Gene.integer("z", 0, 3)]
HOW = {"algorithm": "asynchronous", "population": 6, "seed": 2}


class Shuffled(Serial):
    """Several workers, whose scores come in any order."""

    def __init__(self, workers, seed):
        super().__init__()
        self.workers, self._draws, self.busy = workers, random.Random(seed), []

    def completed(self, timeout):
        self.busy.append(min(self.workers, len(self._calls)))
        done = self._draws.randrange(self.busy[-1])
        self._calls.rotate(-done)
        found = super().completed(timeout)
        self._calls.rotate(done)
        return found


@pytest.fixture
def search(monkeypatch, tmp_path):
    """Search with ``workers``, which answer in an order of ``seed``, in a folder; the scored genomes and the lines."""

    def call(name, workers, seed, evaluations=60):
        scored, backend = [], Shuffled(workers, seed)
        monkeypatch.setattr(runs, "start", lambda *_: backend)

        def f(genome):
            scored.append(tuple(genome))
            return benchmarks.sphere(genome)

        found = minimize(f, GENES, evaluations=evaluations, folder=tmp_path / name, **HOW)
        lines = (tmp_path / name / "history.jsonl").read_text().splitlines()
        return found, scored, [json.loads(line) for line in lines], backend

    return call


def without_times(lines):
    return [{key: value for key, value in line.items() if key not in {"seconds", "idle"}} for line in lines]


def test_one_worker_makes_the_same_history_again_and_ask_and_tell_the_same_search(search):
    (found, scored, lines, _), (_, _, again, _) = search("a", 1, 0), search("b", 1, 1)
    assert without_times(lines) == without_times(again)
    asked = Search(GENES, **HOW)
    told = []
    while asked.evaluations < len(scored):
        for genome in asked.ask():
            asked.tell(genome, benchmarks.sphere(genome))
            told.append(tuple(genome))
    assert told == scored
    assert asked.best == (found.genome, found.values)


def test_no_worker_waits_and_scores_come_in_their_own_order(search):
    _, scored, lines, backend = search("a", 3, 0)
    assert set(backend.busy) == {3}
    assert len(set(scored)) == len(scored)
    numbers = [line["candidate"] for line in lines if "candidate" in line]
    assert numbers != sorted(numbers)
    seen = set()
    for line in (line for line in lines if "candidate" in line):
        assert set(line["parents"]) <= seen
        seen.add(line["candidate"])


@pytest.mark.parametrize("workers", [1, 5])
def test_a_killed_search_goes_on_in_the_recorded_order_with_any_workers(search, tmp_path, workers):
    _, _, whole, _ = search("whole", 3, 0)
    for kept in (1, 30, len(whole)):
        folder = tmp_path / f"cut-{kept}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / "result.json").unlink()
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in whole[:kept]))
        _, scored, lines, _ = search(folder.name, workers, 7)
        assert lines[:kept] == whole[:kept]
        assert not {tuple(line["genome"]) for line in whole[:kept] if "candidate" in line} & set(scored)
        (folder / "result.json").unlink()
        _, again, replayed, _ = search(folder.name, 4, 8)  # what two sessions wrote
        assert (again, without_times(replayed)) == ([], without_times(lines))


def test_a_history_of_another_search_is_refused(search, tmp_path):
    _, _, whole, _ = search("whole", 3, 0)
    candidates = [line for line in whole if "candidate" in line]
    candidates[20]["genome"][0] += 0.5
    (tmp_path / "whole" / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in whole))
    (tmp_path / "whole" / "result.json").unlink()
    with pytest.raises(InputError, match="history"):
        search("whole", 3, 0)


scored = []


def slow(genome):
    """The sphere function, in workers after a sleep that depends on the genome."""
    scored.append(tuple(genome))
    if multiprocessing.parent_process():
        time.sleep(0.03 if genome[2] else 0.06)
    return benchmarks.sphere(genome)


def searched(folder, workers):
    return minimize(slow, GENES, evaluations=60, workers=workers, folder=folder, **HOW)


@pytest.mark.slow
def test_a_search_killed_with_all_its_workers_goes_on_in_the_recorded_order(start, tmp_path):
    folder = tmp_path / "run"
    process = start(prefix=("-c", f"from {__name__} import searched; searched({str(folder)!r}, 2)"))
    wait_until(lambda: len(candidates(folder)) >= 15, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before, known = lines(folder), {tuple(line["genome"]) for line in candidates(folder)}
    assert not (folder / "result.json").exists()
    scored.clear()
    found = searched(folder, 1)
    assert lines(folder)[: len(before)] == before
    assert not known & set(scored)
    assert found.evaluations == 60 == len(known) + len(scored)
