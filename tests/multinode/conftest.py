"""Two hosts for each test, and what is done on them."""

import contextlib
import sys

import pytest

from tests.multinode import hosts
from tests.runs import candidates, wait_until


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


def where(folder):
    """The hosts that have scored candidates; the run may be going on."""
    return {line.get("worker", "").split(":")[0] for line in candidates(folder) if not line["memo"]}
