"""Tables of numbers in CSV files."""

import pytest

from evoprune import InputError
from evoprune.plugins import read_columns


def test_comments_and_blank_lines_are_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text('# of a scale\nname, kg\n\n"a, b", 1e2\n#, 3\nc,-0.5\n')
    assert read_columns(tmp_path / "a.csv", texts=["name"]) == {"name": ["a, b", "c"], "kg": [100.0, -0.5]}


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "line 1"),
        (b"a,a\n1,2", "line 1"),
        (b"\na,b\n1,2,3", "line 3: "),
        (b"a\n1\ninf", "line 3: a: "),
        (b"\xff", ""),
    ],
)
def test_a_fault_is_told_by_file_and_line(tmp_path, content, fragment):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=f"a.csv: {fragment}"):
        read_columns(tmp_path / "a.csv")
