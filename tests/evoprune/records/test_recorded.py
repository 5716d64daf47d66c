"""Reading a history while its run goes on."""

import json
import subprocess
import sys

import pytest

from evoprune import InputError
from evoprune.records import recorded

WRITER = """
import os, sys
with open(sys.argv[1], "ab", buffering=0) as file:
    for number, _ in enumerate(sys.stdin):
        file.write(b'{"generation": %d, ' % number)
        os.fsync(file.fileno())  # time for a reader
        file.write(b'"seconds": 1.0}\\n')
"""


def test_a_line_that_is_being_written_is_no_fault(tmp_path):
    path = tmp_path / "history.jsonl"
    command = [sys.executable, "-c", WRITER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) as writer:
        for size in range(1, 301):
            writer.stdin.write(b"\n")
            found = []
            while len(found) < size:
                assert writer.poll() is None
                found = [line["generation"] for line in recorded.lines(path)]
                assert found == list(range(len(found)))


def test_a_broken_line_is_a_fault_unless_it_is_the_last(tmp_path):
    path = tmp_path / "history.jsonl"
    sound = json.dumps({"generation": 0, "seconds": 1.0}) + "\n"
    path.write_text(sound + sound[:9] + "\n")
    assert len(list(recorded.lines(path))) == 1
    path.write_text(sound + sound[:9] + "\n" + sound)
    with pytest.raises(InputError, match="line 2"):
        list(recorded.lines(path))
