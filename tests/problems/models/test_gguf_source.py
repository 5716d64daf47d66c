"""Models in .gguf files, dequantised once."""

import sys

import pytest
import torch

pytest.importorskip("gguf")

from evoprune.files.cache import entries
from problems.bundled import base
from problems.models import load
from problems.models.settings import ModelSettings

TEXT = "def main(arguments):\n    return  1234567"


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "bundled.gguf"
    before, sys.argv = sys.argv, ["base", str(path)]
    base.main()
    sys.argv = before
    return path


@pytest.fixture
def loaded(gguf_file, tmp_path, monkeypatch):
    """Loads the file with an empty cache: its weights, config and some tokens."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))

    def now():
        model, tokenizer = load.load_model(ModelSettings(model=str(gguf_file), dtype="bfloat16", device="cpu"))
        return model.state_dict(), model.config.to_dict(), tokenizer(TEXT)["input_ids"]

    return now


def same(one, other):
    return one[1:] == other[1:] and all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


def test_the_second_time_the_file_is_not_parsed_and_the_model_is_the_same(loaded, monkeypatch):
    first = loaded()
    monkeypatch.setattr(load, "_save", lambda *_: pytest.fail("parsed again"))
    assert same(first, loaded())
    (entry,) = entries()
    assert entry.about()["model"] == "bundled.gguf"


def test_a_damaged_copy_is_made_again(loaded):
    first = loaded()
    (entry,) = entries()
    content = bytearray(entry.path.read_bytes())
    content[-5] ^= 1
    entry.path.write_bytes(content)
    assert same(first, loaded())
    assert same(first, loaded())


def test_without_room_nothing_is_kept_and_the_model_is_the_same(loaded, monkeypatch):
    first = loaded()
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "0")
    entries()[0].delete()
    second = loaded()
    assert not entries()
    assert all(torch.equal(tensor, second[0][name]) for name, tensor in first[0].items())
