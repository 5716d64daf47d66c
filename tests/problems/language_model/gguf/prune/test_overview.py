"""Sizes that a model could have, told without a search."""

import shlex
from pathlib import Path

import pytest

from evoprune.cli import main
from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings
from evoprune.problems.language_model.prune.goals import Size

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf.prune.overview import lost_at
from tests.problems.language_model.gguf.models import random_llama, write_quantised


def test_the_loss_is_that_of_the_types_within_a_factor_of_two_and_falls_with_the_size(byte_models):
    own = byte_models("llama")
    base = str(Path(own["model"]).parent / "base.gguf")
    types = {"use": "types", "types": ["Q8_0", "Q5_0", "Q4_0"], "base": base}
    session = LanguageModel(LanguageModelSettings(**own, transforms=types, objective="kl")).session
    transform = session.transform
    budget = transform.costs.budget("bytes", None)
    dense, least = (budget.spent(budget.extreme(most)) for most in (True, False))
    losses = [lost_at(session, least + share * (dense - least)) for share in (0.0, 0.3, 0.6, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == 0
    assert lost_at(session, 0.9 * least) is None
    measured, _ = session.fitness.value([gene.up for gene in transform.genes])
    assert losses[0] / 2 < measured < losses[0] * 2


@pytest.mark.slow
def test_smaller_sizes_are_listed_with_commands_that_ask_for_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Size, "advice", classmethod(lambda _, __, goal: f"below {goal.value:g} bytes, another goal"))
    source = write_quantised(random_llama(blocks=4), tmp_path / "a tiny.gguf", "Q5_1")
    assert main(["prune", str(source)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("llama.cpp's presets"))
    losses = [float(line.split()[-4]) for line in lines[:first] if line.endswith("bits per byte")]
    assert 0 < losses[0] < losses[-1]
    of_presets = [line.split() for line in lines[first:] if line.endswith("bits per byte")]
    assert of_presets and all(float(words[-4]) <= float(words[-6]) for words in of_presets)  # a search can take it
    assert any(line.startswith("take ") for line in lines)
    assert any(line.endswith("another goal") for line in lines)
    commands = [shlex.split(line) for line in lines if line.startswith("    python")]
    sizes = [Size.read(command[command.index("--size") + 1]).value for command in commands]
    assert source.stat().st_size > sizes[0] > sizes[1]
    assert all(command[4] == str(source) for command in commands)
    assert not (tmp_path / "runs").exists()
