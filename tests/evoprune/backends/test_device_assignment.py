import pytest

from evoprune.backends import device_assignment


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(device_assignment, "_claims", [])
    return tmp_path


def test_each_process_claims_a_device_that_the_fewest_have():
    taken = [device_assignment._claim(["cuda:0", "cuda:1"]) for _ in range(5)]
    assert taken == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_a_lock_ends_with_what_holds_it(temporary):
    assert [device_assignment._claim(["cuda:0", "cuda:1"]) for _ in range(2)] == ["cuda:0", "cuda:1"]
    device_assignment._claims.pop().release()
    assert device_assignment._claim(["cuda:0", "cuda:1"]) == "cuda:1"


def test_a_cpu_needs_no_lock(temporary):
    assert device_assignment._claim(["cpu", "cpu"]) == "cpu"
    assert device_assignment._claim([]) is None
    assert list(temporary.iterdir()) == []
