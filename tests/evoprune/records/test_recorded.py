"""Reading a history while its run goes on."""

import json

import pytest

from evoprune import InputError
from evoprune.records import recorded

SOUND = json.dumps({"generation": 0, "seconds": 1.0}) + "\n"


def test_a_line_that_is_being_written_is_no_fault(tmp_path):
    path = tmp_path / "history.jsonl"
    for size in range(2 * len(SOUND) + 1):
        path.write_text((2 * SOUND)[:size])
        assert len(list(recorded.lines(path))) == (size + 1) // len(SOUND)  # whole without its line feed, too


def test_a_broken_line_is_a_fault_unless_it_is_the_last(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(SOUND + SOUND[:9] + "\n")
    assert len(list(recorded.lines(path))) == 1
    path.write_text(SOUND + SOUND[:9] + "\n" + SOUND)
    with pytest.raises(InputError, match="line 2"):
        list(recorded.lines(path))
