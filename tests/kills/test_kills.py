"""Two kills; `python -m tests.kills.kills` makes as many as one likes."""

import pytest

from tests.kills import kills


@pytest.mark.slow
def test_what_is_killed_loses_nothing(capsys):
    code = kills.main(["--kills", "2", "--only", "idle", "--only", "main"])  # busy: tests/evoprune/backends
    assert code == 0, capsys.readouterr().out
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[0] for row in rows] == ["| idle", "| main"]
