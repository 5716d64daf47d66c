import errno
import fcntl
import os
import re
from pathlib import Path

import pytest

from evoprune import InputError, Stopped
from evoprune.records.run_folder import CONFIG, created, locked, refuse_foreign


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="cannot be locked"), locked(tmp_path):
        pass


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    def fill(place):
        (place / CONFIG).write_text("")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(Stopped, match="No space"), created(tmp_path / "runs" / "full", fill):
        pytest.fail("it is not made")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(Stopped), created(tmp_path / "kept", lambda place: (place / CONFIG).write_text("")):
        raise Stopped("the disk is full")
    assert (tmp_path / "kept" / CONFIG).exists()
    with pytest.raises(InputError, match="exists already"), created(tmp_path / "kept", lambda _: None):
        pytest.fail("it is somebody else's")
    assert (tmp_path / "kept" / CONFIG).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_file_that_is_gone_by_its_turn_is_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "ahead.jsonl", *map(folder.joinpath, there)]))
    there = []
    refuse_foreign(tmp_path)
    there.append("link")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link"):
        refuse_foreign(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "asked.jsonl", "convergence.svg"])
def test_a_folder_in_place_of_a_file_is_refused_by_name(tmp_path, name):
    (tmp_path / CONFIG).touch()
    (tmp_path / "tensorboard").mkdir()
    refuse_foreign(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=re.escape(name)):
        refuse_foreign(tmp_path)
