"""Signals need a process of their own."""

import json
import signal

import pytest

from tests.runs import finish, wait_until

SLOW = """
import random
import time
from evoprune import Evaluation, Genes, Problem

class Slow(Problem):
    genes = Genes.real(["x"], 0.0, 1.0)

    def evaluate(self, genome):
        time.sleep(0.02)
        return Evaluation((genome[0],))
"""
EXPERIMENT = "{plugins: [slow_problem], problem: 'slow_problem:Slow', population: 100, generations: 1000}"


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGINT]], ids=["one", "two"])
def test_an_interrupted_run_ends_in_order(tmp_path, plugin, write, start, signals):
    plugin("slow_problem", SLOW)
    folder = tmp_path / "runs" / "run"
    history = folder / "history.jsonl"
    process = start("run", write(EXPERIMENT), "--runs-dir", folder.parent, "--name", "run")
    wait_until(lambda: history.exists() and "candidate" in history.read_text(), process)
    for number in signals:
        process.send_signal(number)
    errors = finish(process, 130)
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == "evoprune: interrupted"
    assert str(history) in errors
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("interrupted", "interrupted (Ctrl-C or a signal)")
    text = history.read_text()
    assert text.endswith("\n")
    assert all(json.loads(line) for line in text.splitlines())
    assert not (folder / "result.json").exists()
