"""The smallest size that a model is made, by the headers of its files."""

import shlex
from pathlib import Path

import pytest

from evoprune import InputError
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.prune.goals import Bits, Size
from evoprune.problems.language_model.prune.reach import refuse_size, shrinking

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from tests.problems.language_model.gguf.models import random_llama, write_quantised


@pytest.mark.parametrize(
    ("kind", "cuts"),
    [
        ("gpt2", [{"use": "sublayers", "genes": "block"}, {"use": "channels", "genes": "model", "drop": False}]),
        ("llama", ["heads", "channels"]),
    ],
    ids=["gpt2", "llama"],
)
def test_no_size_is_refused_that_can_be_reached_and_few_others_are_not(kind, cuts, problem_on, byte_models):
    folder = Path(byte_models(kind)["model"])
    base = folder.parent / "base.gguf"
    types = {"use": "types", "importance": False, "base": None if kind == "gpt2" else str(base)}
    transform = problem_on(kind, [*cuts, types]).session.transform
    smallest = transform.budget("bytes", None).spent([gene.up for gene in transform.genes])
    parameters = transform.resident.parameters
    for source in (folder, base):
        for recipe in (Size(smallest), Bits(8.01 * smallest / parameters)):
            refuse_size(recipe, ModelSettings(model=str(source)), one_file=True)
    for recipe in (Size(0.3 * smallest), Bits(0.3 * 8 * smallest / parameters)):
        with pytest.raises(InputError, match=recipe.option) as refused:
            refuse_size(recipe, ModelSettings(model=str(base)), one_file=True)
        command = shlex.split(str(refused.value).split(": ")[-1])
        suggested = type(recipe)(recipe.read(command[command.index(recipe.option) + 1]))
        refuse_size(suggested, ModelSettings(model=str(base)), one_file=True)
        assert suggested.value * (parameters / 8 if isinstance(recipe, Bits) else 1) >= smallest


def test_a_file_shrinks_as_far_as_the_types_go_that_are_fast(tmp_path):
    source = write_quantised(random_llama(), tmp_path / "tiny.gguf", "Q8_0")
    assert shrinking(ModelSettings(model=str(source))) == pytest.approx(8.5 / 4.5)
