import errno
import os
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

pytest.importorskip("gguf")

from gguf import GGUFWriter

from evoprune import InputError
from evoprune.problems.language_model.gguf import loading
from evoprune.problems.language_model.models import load
from evoprune.problems.language_model.models.cache import entries
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.models.weight_files import stored_dtype
from tests.problems.language_model.gguf.models import random_gpt2, write_model
from tests.problems.language_model.small import is_mapped


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(random_gpt2(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def loaded(path):
    """Loads the file: its weights, its config and some tokens."""

    def now():
        model, tokenizer = load.load_model(ModelSettings(model=str(path), dtype="bfloat16", device="cpu"))
        return model.state_dict(), model.config.to_dict(), tokenizer("the other")["input_ids"]

    return now


def same(one, other):
    return one[1:] == other[1:] and all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


def test_the_second_time_the_file_is_not_parsed_and_the_model_is_the_same(loaded, path, monkeypatch):
    first = loaded()
    (entry,) = entries()
    assert entry.about()["model"] == "tiny.gguf"
    assert stored_dtype(ModelSettings(model=str(path))) == "float16"
    monkeypatch.setattr(loading, "Header", lambda _: pytest.fail("parsed again"))
    assert same(first, loaded())


def test_a_file_that_is_read_some_blocks_at_a_time_gives_the_same_model(loaded, monkeypatch):
    whole = loaded()
    entries()[0].path.unlink()
    monkeypatch.setattr(loading, "_PART", 2**13)  # a block at a time, and some rows of the embedding
    assert same(whole, loaded())


def test_weights_that_cannot_be_dequantised_are_told_for_people(loaded, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such type")

    monkeypatch.setattr(loading, "load_gguf_checkpoint", fail)
    with pytest.raises(InputError, match="no such type"):
        loaded()
    assert not entries()


@pytest.mark.parametrize("in_cache", [True, False])
def test_without_room_nothing_is_kept_and_the_model_is_the_same(loaded, monkeypatch, in_cache):
    first = loaded()
    entries()[0].path.unlink()
    monkeypatch.setenv("EVOPRUNE_CACHE_GB", "0")
    if not in_cache:
        monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    second = loaded()
    assert not entries()
    assert same(first, second)
    assert all(map(is_mapped, second[0].values()))  # from a file that is deleted


def test_a_model_that_no_disk_has_room_for_is_refused(loaded, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(loading, "save_file", full)
    with pytest.raises(InputError, match=r"tiny\.gguf: .*EVOPRUNE_CACHE"):
        loaded()


def test_a_file_of_the_same_name_in_the_working_directory_is_not_read(loaded, path, tmp_path, monkeypatch):
    first = loaded()
    entries()[0].path.unlink()
    write_model(random_gpt2(blocks=2), tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    assert same(first, loaded())


@pytest.mark.parametrize(("blocks", "said"), [(2**31, "2,147,483,648 blocks"), (2, "blk.2.")])
def test_more_blocks_than_tensors_or_fewer_are_refused_before_they_are_built(path, tmp_path, monkeypatch, blocks, said):
    content, key = bytearray(path.read_bytes()), b"gpt2.block_count"
    place = content.index(key) + len(key) + 4  # a type is between key and value
    content[place : place + 4] = blocks.to_bytes(4, "little")
    (tmp_path / "many.gguf").write_bytes(content)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda **_: pytest.fail("built"))
    with pytest.raises(InputError, match=said):
        load.load_model(ModelSettings(model=str(tmp_path / "many.gguf"), dtype="float32", device="cpu"))


def test_experts_of_other_architectures_are_refused_by_the_header(tmp_path):
    writer = GGUFWriter(tmp_path / "mixtral.gguf", "llama")
    writer.add_expert_count(8)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    with pytest.raises(InputError, match="give the model's folder"):
        loading.Header(tmp_path / "mixtral.gguf")
