import fcntl

import pytest

from evoprune import InputError
from evoprune.records.run_folder import locked


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="this file system has no locks"), locked(tmp_path):
        pass
