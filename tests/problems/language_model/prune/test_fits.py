"""The goal of a file that fits into memory beside a context."""

import pytest

from evoprune import InputError

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf.runtime import memory
from evoprune.problems.language_model.prune.fits import Fits
from tests.problems.language_model.gguf.models import random_llama, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(random_llama(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_file_of_that_size_and_the_context_take_the_memory_together(model):
    found = memory(model, 32, "f16")
    whole = sum(found[part] for part in ("weights", "cache", "buffers", "process"))
    wanted = whole - found["weights"] / 2
    left, _ = Fits(wanted).beside_context(str(model), None, 32, "f16")
    assert left.value == pytest.approx(found["weights"] / 2, abs=2**20)  # the process differs by some pages


@pytest.mark.parametrize(
    ("wanted", "context", "fault"),
    [(1e9, 32, "--fits: is met"), (1e3, 32, "--fits: .*without any weights")],
)
def test_nothing_to_do_and_no_room_are_refused(wanted, context, fault, model):
    with pytest.raises(InputError, match=fault):
        Fits(wanted).beside_context(str(model), None, context, "f16")


def test_a_number_or_a_place_is_read():
    assert Fits.read("8GB") == 8e9
    assert Fits.read("ram") > 0
    with pytest.raises(InputError):
        Fits.read("much")


def test_a_folder_needs_a_file_of_the_model():
    with pytest.raises(InputError, match="--base"):
        Fits(1e9).beside_context("some/folder", None, 32, "f16")
