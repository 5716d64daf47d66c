import os

import pytest

from evoprune.backends import seat


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_each_process_takes_a_device_that_the_fewest_have():
    taken = [seat._take(["cuda:0", "cuda:1"]) for _ in range(5)]  # a lock is an open file's, not a process's
    assert taken == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_a_lock_ends_with_what_holds_it(temporary):
    assert [seat._take(["cuda:0", "cuda:1"]) for _ in range(2)] == ["cuda:0", "cuda:1"]
    os.close(seat._held.pop())
    assert seat._take(["cuda:0", "cuda:1"]) == "cuda:1"


def test_a_cpu_needs_no_lock(temporary):
    assert seat._take(["cpu", "cpu"]) == "cpu"
    assert seat._take([]) is None
    assert list(temporary.iterdir()) == []
