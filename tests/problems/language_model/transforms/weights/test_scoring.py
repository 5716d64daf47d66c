"""Every registered score as the cut uses it: on budget, the lowest first."""

from types import SimpleNamespace

import pytest
import torch

from evoprune import InputError
from evoprune.experiment.registry import names, plugin
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.scores import SCORES
from evoprune.problems.language_model.transforms.weights.genes import group_matrices
from evoprune.problems.language_model.transforms.weights.masks import BASE, Masks
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from tests.problems.language_model.small import random_model


def masks(model, tokens, score):
    """The masks of ``model`` and their scoring, calibrated on ``tokens``."""
    matrices = find_matrices(model)
    scoring = Scoring(matrices, score, SimpleNamespace(calibration=SimpleNamespace(tokens=tokens, identity="")))
    stored = {BASE + m.name: m.weight.detach().clone() for m in matrices} | scoring.bins(model)
    return Masks(group_matrices(matrices, "block"), stored), scoring


@pytest.mark.parametrize("name", sorted(names(SCORES)))
def test_every_score_is_on_budget_and_removes_the_lowest(name, tokens):
    model = random_model("gpt2")
    before = {matrix.name: matrix.weight.clone() for matrix in find_matrices(model)}
    made, scoring = masks(model, tokens, name)
    assert scoring.scope == ("row" if name == "wanda" else "matrix")
    scores = {matrix.name: matrix.rows(score) for matrix, score in scoring.scores(model)}
    made.apply([0.3, 0.5, 0.8])
    size = sum(weight.numel() for weight in before.values())
    assert made.removed / size == pytest.approx(sum((0.3, 0.5, 0.8)) / 3, abs=1e-4)
    for matrix in find_matrices(model):
        score, kept = scores[matrix.name], matrix.rows(made.mask(matrix))
        for part, stays in zip(score, kept, strict=True) if scoring.scope == "row" else [(score, kept)]:
            assert part[~stays].max() <= part[stays].min()
        if scoring.scope == "row":
            assert kept.sum(1).max() - kept.sum(1).min() <= 1
        assert torch.equal(matrix.weight, before[matrix.name] * made.mask(matrix))


def test_a_score_that_gives_nonsense_is_refused(tokens, tmp_path, monkeypatch):
    (tmp_path / "odd_scores.py").write_text(
        "def nan(weight):\n    return weight / 0 * 0\n\ndef few(weight):\n    return weight[:1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin("odd_scores")
    for name in ("nan", "few"):
        with pytest.raises(InputError, match=f"odd_scores:{name}"):
            masks(random_model("gpt2"), tokens, f"odd_scores:{name}")
