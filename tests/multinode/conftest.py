"""Two hosts for each test, and what is done on them."""

import contextlib
import json
import sys
import time

import pytest

from evoprune.records import history, recorded
from evoprune.records.history import without_times
from tests.multinode import hosts


@pytest.fixture(scope="session")
def obstacle():
    """Why hosts cannot be made here; found out once."""
    return hosts.obstacle()


@pytest.fixture
def pair(obstacle, tmp_path):
    """Two hosts that know each other; skips, saying why, where they cannot be made."""
    if obstacle:
        pytest.skip(obstacle)
    with contextlib.ExitStack() as end:
        made = hosts.pair(tmp_path)
        for host in made:
            end.callback(host.remove)
        for host, other in (made, made[::-1]):
            wait_until(lambda: host.start("ssh", "-oBatchMode=yes", other.name, "true").wait() == 0)  # noqa: B023
        yield made


@pytest.fixture
def evoprune(pair, tmp_path):
    """Starts the command line on the first host."""

    def call(command, *arguments):
        return pair[0].start(sys.executable, "-m", "evoprune", command, *arguments)

    return call


def wait_until(condition):
    """Wait until ``condition()``, a minute at most."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def finish(process, code=0):
    """Wait for ``process``, check its exit code and return what it said."""
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return errors


def lines(folder):
    """The history, times and workers aside."""
    return without_times(history.read(folder / "history.jsonl"))


def result(folder):
    """The result, times aside."""
    found = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in found.items() if not key.startswith("seconds")}


def where(folder):
    """The hosts that have scored candidates; the run may be going on."""
    candidates = [line for line in recorded.lines(folder / "history.jsonl") if "candidate" in line]
    return {line.get("worker", "").split(":")[0] for line in candidates if not line["memo"]}
