"""The real model, where its GGUF file is: set EVOPRUNE_GGUF to it."""

import os
from pathlib import Path

import pytest
import torch

from evoprune.problems.language_model.problem import Pruning
from evoprune.problems.language_model.settings import PruningSettings
from evoprune.problems.language_model.texts.settings import TextSettings
from tests.problems.language_model.small import counted_sparsity


@pytest.fixture(scope="module")
def gguf() -> str:
    path = os.environ.get("EVOPRUNE_GGUF", "")
    if not Path(path).is_file():
        pytest.skip("EVOPRUNE_GGUF names no GGUF file of SmolLM2-135M-Instruct")
    return path


def test_gguf_is_dequantised_for_real_and_scores_as_published(gguf, wikitext, tmp_path):
    settings = PruningSettings(
        model=gguf,
        search_text=TextSettings(source=str(wikitext / "test.txt"), window=512, windows=8),
        report_text=TextSettings(source=str(wikitext / "valid.txt"), window=512, windows=1),
    )
    problem = Pruning(settings)
    model = problem.session.resident.model
    assert problem.evaluate([0.0] * 30).values[0] == pytest.approx(27.61, abs=0.01)
    assert problem.evaluate([0.45] * 30).values[0] == pytest.approx(136.6, abs=3)
    assert counted_sparsity(model) == pytest.approx(0.45, abs=1e-4)
    assert {type(p) for p in model.parameters()} == {torch.nn.Parameter}
    model.save_pretrained(tmp_path)
