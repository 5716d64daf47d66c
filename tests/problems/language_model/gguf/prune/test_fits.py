"""The goal of a file that fits into memory beside a context."""

import shlex

import pytest

from evoprune import InputError
from evoprune.cli.main import parser

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf import runtime
from evoprune.problems.language_model.gguf.prune.goals import Fits
from evoprune.problems.language_model.gguf.reader import read_gguf
from evoprune.problems.language_model.gguf.runtime import memory
from evoprune.problems.language_model.prune.command import Prune
from tests.problems.language_model.gguf.models import random_llama, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(random_llama(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_file_of_that_size_and_the_context_take_the_memory_together(model):
    found = memory(model, 32, "f16")
    whole = sum(found[part] for part in ("weights", "cache", "buffers", "process"))
    wanted = whole - found["weights"] / 2
    left, *_ = Fits(wanted).within_memory(str(model), 32, "f16")
    assert left.value == pytest.approx(found["weights"] / 2, abs=2**20)  # the process differs by some pages


def test_nothing_to_do_and_no_room_are_refused_with_a_command_that_works(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = memory(model, 32, "f16")  # measured once: it differs by more than a tiny file can be made smaller
    monkeypatch.setattr(runtime, "memory", lambda *_: found)

    def refused(wanted):
        with pytest.raises(InputError, match="--fits: ") as error:
            Prune(parser("prune").parse_args(["prune", str(model), f"--fits={wanted}", "--context=32"]))
        return str(error.value)

    assert "met already" in refused("9GB")
    suggested = shlex.split(refused("1kB").split(": ")[-1])
    assert Prune(parser("prune").parse_args(suggested[3:])).goal.value > 0


def test_the_context_is_by_default_no_longer_than_the_model_was_trained_for(model):
    positions = read_gguf(model).value(".context_length")
    assert positions < 4096
    assert Fits(1e9).within_memory(str(model), None, "f16")[1] == positions


def test_a_number_or_a_place_is_read():
    assert Fits.read("8GB").value == 8e9
    assert Fits.read("ram").value > 0
    with pytest.raises(InputError):
        Fits.read("much")


def test_a_folder_needs_a_file_of_the_model():
    with pytest.raises(InputError, match="--base"):
        Fits(1e9).within_memory("some/folder", 32, "f16")
