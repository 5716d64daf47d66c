import pytest

from evoprune.backends import device_assignment


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_each_process_claims_a_device_that_the_fewest_have():
    taken = [device_assignment._claim(["cuda:0", "cuda:1"]) for _ in range(5)]
    assert taken == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_a_cpu_needs_no_lock(temporary):
    assert device_assignment._claim(["cpu", "cpu"]) == "cpu"
    assert device_assignment._claim([]) is None
    assert list(temporary.iterdir()) == []
