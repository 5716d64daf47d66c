import fcntl

import pytest

from evoprune import InputError, Stopped
from evoprune.records.run_folder import CONFIG, locked, made


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="cannot be locked"), locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_resumed_is_gone(tmp_path):
    with pytest.raises(Stopped), made(tmp_path / "runs" / "full"):
        raise Stopped("the disk is full")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(Stopped), made(tmp_path / "kept"):
        (tmp_path / "kept" / CONFIG).write_text("")
        raise Stopped("the disk is full")
    assert (tmp_path / "kept" / CONFIG).exists()
