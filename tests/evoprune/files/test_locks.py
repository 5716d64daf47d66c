import os

import pytest

from evoprune import InputError
from evoprune.files.locks import is_locked, lock, user_folder


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("how", ["open to others", "link", "file"])
def test_a_folder_that_others_may_have_prepared_is_refused(temporary, how):
    folder = user_folder()
    if how == "link":
        folder.rmdir()
        (temporary / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(temporary / "elsewhere")
    elif how == "file":
        folder.rmdir()
        folder.touch(mode=0o600)
    else:
        folder.chmod(0o777)
    with pytest.raises(InputError, match="belongs to you alone"):
        user_folder()


def test_a_lock_is_shared_or_alone_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    held = lock(path)
    assert is_locked(path)
    assert lock(path, wait=0.01) is None
    os.close(held)
    both = [lock(path, shared=True, wait=0) for _ in range(2)]
    assert None not in both
    assert lock(path, wait=0) is None
    assert not is_locked(path)
    for each in both:
        os.close(each)
