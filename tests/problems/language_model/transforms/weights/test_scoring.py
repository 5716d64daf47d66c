"""Every registered score as the cut uses it: on budget, the lowest first, in each scope."""

import pytest
import torch

from evoprune import InputError
from evoprune.experiment.registry import names, plugin
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.scores import SCORES
from evoprune.problems.language_model.transforms.weights.genes import group
from evoprune.problems.language_model.transforms.weights.masks import BASE, Masks
from evoprune.problems.language_model.transforms.weights.scoring import Scoring
from evoprune.problems.language_model.transforms.weights.settings import WeightsSettings
from tests.problems.language_model.small import random_model

REGISTERED = sorted(names(SCORES))


def masks(model, tokens, **settings):
    """The masks and scoring of ``model``, calibrated on ``tokens``."""
    matrices = find_matrices(model)
    chosen = WeightsSettings(**settings)
    scoring = Scoring(matrices, chosen.score, chosen.scores, chosen.scope)
    groups = group(matrices, chosen.genes)
    return Masks(
        groups, {BASE + m.name: m.weight.detach().clone() for m in matrices} | scoring.levels(model, groups, tokens)
    ), scoring


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("scope", ["row", "matrix", "group"])
def test_every_score_and_scope_is_on_budget_and_removes_the_lowest(name, scope, tokens):
    model = random_model("gpt2")
    before = {matrix.name: matrix.weight.clone() for matrix in find_matrices(model)}
    found, scoring = masks(model, tokens, score=name, scope=scope)
    scores = {matrix.name: matrix.rows(score) for matrix, score in scoring.scored(model, tokens)}
    sparsity = found.apply([0.3, 0.5, 0.8])
    assert sparsity == pytest.approx(sum((0.3, 0.5, 0.8)) / 3, abs=1e-4)
    for of_block in found.groups:
        lost = [(scores[m.name], m.rows(found.kept(m))) for m in of_block.matrices]
        parts = {
            "group": [(torch.cat([s.flatten() for s, _ in lost]), torch.cat([k.flatten() for _, k in lost]))],
            "matrix": lost,
            "row": [pair for s, k in lost for pair in zip(s, k, strict=True)],
        }[scope]
        for score, kept in parts:
            # A group is split by a table, exact to one place of 4,096: a few of its weights may be on the wrong side.
            wrong = int((score[~kept] > score[kept].min()).sum()) if kept.any() else 0
            assert wrong <= (score.numel() / 4096 + len(lost) if scope == "group" else 0)
    for matrix in find_matrices(model):
        assert torch.equal(matrix.weight, before[matrix.name] * found.kept(matrix))


def test_row_is_the_natural_scope_of_wanda_and_a_kind_may_have_a_score_of_its_own(model, tokens):
    kinds = list(dict.fromkeys(matrix.kind for matrix in find_matrices(model)))
    found, scoring = masks(model, tokens, scores={kinds[1]: "wanda"})
    assert scoring.describe() == dict.fromkeys(kinds, "magnitude by matrix") | {kinds[1]: "wanda by row"}
    found.apply([0.5, 0.5, 0.5])
    for matrix in find_matrices(model):
        per_row = matrix.rows(found.kept(matrix)).sum(1)
        assert (per_row.max() - per_row.min() <= 1) == (matrix.kind == kinds[1])


def test_a_score_that_gives_nonsense_is_refused(tokens, tmp_path, monkeypatch):
    (tmp_path / "odd_scores.py").write_text(
        "def nan(weight):\n    return weight / 0 * 0\n\ndef few(weight):\n    return weight[:1]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin("odd_scores")
    for name in ("nan", "few"):
        with pytest.raises(InputError, match="not one finite score for each weight"):
            masks(random_model("gpt2"), tokens, score=f"odd_scores:{name}")
