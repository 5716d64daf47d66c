"""The smallest size that a model is made, by the headers of its files."""

from pathlib import Path

import pytest

from evoprune import InputError
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.prune.goals import Bits, Size
from evoprune.problems.language_model.prune.reach import refuse_size

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")


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
            refuse_size(recipe, ModelSettings(model=str(source)), one_file=True, whole_blocks=False)
    for recipe in (Size(0.5 * smallest), Bits(0.5 * 8 * smallest / parameters)):
        with pytest.raises(InputError, match=recipe.option):
            refuse_size(recipe, ModelSettings(model=str(base)), one_file=True, whole_blocks=False)
