import pytest

from evoprune import InputError
from evoprune.files.user_folder import user_folder


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
