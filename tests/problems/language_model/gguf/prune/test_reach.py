"""The smallest size that a model can have, by the headers of its files."""

import shlex
from pathlib import Path

import pytest

from evoprune import InputError
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.prune.goals import Size
from evoprune.problems.language_model.prune.headers import Headers
from evoprune.problems.language_model.prune.reach import refuse

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf.prune.goals import Bits
from evoprune.problems.language_model.gguf.prune.output import GgufOutput, GgufPruneOptions
from evoprune.problems.language_model.gguf.prune.source_types import shrinking
from tests.problems.language_model.gguf.models import random_llama, write_quantised


def check(goal, model):
    """Refuse the ``goal`` of a .gguf file of ``model``, if it is out of reach."""
    refuse(goal, Headers(ModelSettings(model=str(model))), GgufOutput(str(model), GgufPruneOptions()))


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
    smallest = transform.costs.budget("bytes", None).spent([gene.up for gene in transform.genes])
    parameters = transform.resident.parameters
    for source in (folder, base):
        for goal in (Size(smallest), Bits(8.01 * smallest / parameters)):
            check(goal, source)
    for goal in (Size(0.3 * smallest), Bits(0.3 * 8 * smallest / parameters)):
        with pytest.raises(InputError, match=goal.option) as refused:
            check(goal, base)
        command = shlex.split(str(refused.value).split(": ")[-1])
        suggested = goal.read(command[command.index(goal.option) + 1])
        check(suggested, base)
        assert suggested.value * (parameters / 8 if goal.name == "bits" else 1) >= smallest


def test_a_file_shrinks_as_far_as_the_types_go_that_are_fast(tmp_path):
    source = write_quantised(random_llama(), tmp_path / "tiny.gguf", "Q8_0")
    assert shrinking(Headers(ModelSettings(model=str(source)))) == pytest.approx(8.5 / 4.5)
