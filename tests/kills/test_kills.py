"""A kill of a kind; `python -m tests.kills.kills` makes as many as one likes. Busy workers: tests/evoprune/backends."""

import pytest

from tests.kills import kills

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["main", pytest.param("idle", marks=pytest.mark.ci)])
def test_what_is_killed_loses_nothing(kind, capsys):
    code = kills.main(["--kills", "1", "--only", kind])
    assert code == 0, capsys.readouterr().out
    _, _, *rows = (line for line in capsys.readouterr().out.splitlines() if line.startswith("|"))
    assert [row.split(" | ")[0] for row in rows] == [f"| {kind}"]
