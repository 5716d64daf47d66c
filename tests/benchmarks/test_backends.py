"""The benchmark of the backends works, on the smallest sizes; nothing is said about times but that they are there."""

import pytest

from tests.benchmarks.backends import main


@pytest.mark.slow
def test_the_tables_are_whole(capsys):
    assert main(["--sections", "cost", "tail", "--backends", "processes", "--costs", "0.2"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| one evaluation", "| 0.2 s", "| backend", "| processes"]
    slow, wasted = (float(cell.strip("| ")) for cell in rows[-1][1:])
    assert slow > 0.9
    assert wasted > 0
