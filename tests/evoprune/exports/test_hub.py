"""Uploads to a fake of the hub's client, and what is refused before the export."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evoprune import Stopped
from evoprune.exports.exporting import push


@pytest.fixture
def hub(monkeypatch):
    """Takes what is uploaded: ``files`` by path; refuses it if ``refuses``."""
    taken = SimpleNamespace(files={}, private=None, refuses=False)

    class Api:
        def __init__(self, **_): ...

        def create_repo(self, name, private, exist_ok):
            if taken.refuses:
                raise RuntimeError("\n403: no right to write\n")
            taken.private = private
            return SimpleNamespace(repo_id=name)

        def create_commit(self, name, operations, commit_message):
            taken.files |= {one.path_in_repo: Path(one.path_or_fileobj) for one in operations}

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return taken


def test_a_folder_is_uploaded_whole_to_a_private_repository(hub, tmp_path):
    for name in ("README.md", "config.json", "inner/weights.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    push(tmp_path, "me/model")
    assert {name: path.read_text() for name, path in hub.files.items()} == {name: name for name in hub.files}
    assert hub.files.keys() == {"README.md", "config.json", "inner/weights.safetensors"}
    assert hub.private


def test_of_a_file_those_about_it_are_uploaded_and_nothing_else(hub, tmp_path):
    for name in ("small.gguf", "small.README.md", "small.evoprune.json", "small.txt", "README.md", "smaller.gguf"):
        (tmp_path / name).write_text(name)
    push(tmp_path / "small.gguf", "me/model")
    found = {name: path.name for name, path in hub.files.items()}
    expected = {"small.gguf": "small.gguf", "README.md": "small.README.md"}
    assert found == expected | {"small.evoprune.json": "small.evoprune.json"}


def test_a_refusal_stops_with_its_reason(hub, tmp_path):
    hub.refuses = True
    with pytest.raises(Stopped, match="me/model: 403"):
        push(tmp_path, "me/model")


@pytest.mark.parametrize(("name", "token"), [("a/b/c", "hf_x"), ("me/model", None)])
def test_what_cannot_be_uploaded_is_refused_before_the_export(evoprune, tmp_path, monkeypatch, name, token):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    answer = evoprune("export", tmp_path / "run", tmp_path / "out", "--push", name)
    assert answer.code == 2
    assert "--push" in answer.err
