"""Every registered score, against its definition weight by weight, and as the problem uses it."""

import math

import pytest
import torch

from evoprune import InputError
from evoprune.experiment.registry import names, plugin
from problems.pruning.masking.groups import group
from problems.pruning.masking.masks import Masks
from problems.pruning.masking.scoring import Scoring
from problems.pruning.model.blocks import find_matrices
from problems.pruning.scores.base import find_score, needs
from problems.pruning.settings import SCORES, PruningSettings

REGISTERED = sorted(names(SCORES))


@pytest.fixture
def layer():
    """A small weight, inputs ``(tokens, in)``, and gradients a window, float64."""
    generator = torch.Generator().manual_seed(0)
    weight, inputs = (torch.randn(shape, generator=generator).double() for shape in ((4, 6), (50, 6)))
    inputs[:, 0] *= 5
    inputs[:, 1] += inputs[:, 0]
    return weight, inputs, torch.randn(3, 4, 6, generator=generator).double()


def error_of_removing(weight, inputs, row, column):
    """The mean squared output error when all other weights of the row make up for one, by least squares."""
    others = [j for j in range(weight.shape[1]) if j != column]
    target = inputs @ weight[row]
    best = torch.linalg.lstsq(inputs[:, others], target[:, None]).solution
    return float((target - (inputs[:, others] @ best)[:, 0]).square().mean())


def slowly(name, weight, inputs, gradients, row, column):
    size, norm = abs(float(weight[row, column])), math.sqrt(sum(float(x) ** 2 for x in inputs[:, column]))
    of_windows = [float(gradient[row, column]) for gradient in gradients]
    norms = [math.sqrt(sum(float(x) ** 2 for x in inputs[:, j])) for j in range(6)]
    steepness = [[math.sqrt(sum(float(g[i, j]) ** 2 for g in gradients) / 3) for j in range(6)] for i in range(4)]
    return {
        "magnitude": lambda: size,
        "wanda": lambda: size * norm,
        "ria": lambda: (
            (size / float(weight[row].abs().sum()) + size / float(weight[:, column].abs().sum())) * math.sqrt(norm)
        ),
        "obs": lambda: error_of_removing(weight, inputs, row, column),
        "taylor": lambda: sum(size * abs(g) for g in of_windows) / 3,
        "fisher": lambda: sum((size * g) ** 2 for g in of_windows) / 3,
        "gblm": lambda: size * (norm * 6 / sum(norms) + steepness[row][column] * 24 / sum(map(sum, steepness))),
    }[name]()


@pytest.mark.parametrize("name", REGISTERED)
def test_a_score_is_what_its_definition_says(name, layer, monkeypatch):
    monkeypatch.setattr("problems.pruning.statistics.linear_algebra.damped_inverse.__defaults__", (0.0,))
    weight, inputs, gradients = layer
    known = {
        "input_norms": inputs.norm(dim=0),
        "gram": inputs.T @ inputs / len(inputs),
        "gradient_sizes": gradients.abs().mean(0),
        "gradient_squares": gradients.square().mean(0),
    }
    score = find_score(name)
    found = score(weight, **{statistic: known[statistic] for statistic in needs(score)})
    for row in range(4):
        for column in range(6):
            assert float(found[row, column]) == pytest.approx(slowly(name, *layer, row, column), rel=1e-6)


@pytest.mark.parametrize("name", REGISTERED)
def test_dead_inputs_and_weights_of_zero_are_scored(name, layer):
    weight, inputs, gradients = (tensor.float() for tensor in layer)
    weight[1] = inputs[:, 2] = 0
    known = {
        "input_norms": inputs.norm(dim=0),
        "gram": inputs.T @ inputs / len(inputs),
        "gradient_sizes": gradients.abs().mean(0),
        "gradient_squares": gradients.square().mean(0),
    }
    score = find_score(name)
    assert torch.isfinite(score(weight, **{statistic: known[statistic] for statistic in needs(score)})).all()


def masks(model, tokens, **settings):
    """The masks and scoring of ``model``, calibrated on ``tokens``."""
    matrices = find_matrices(model)
    scoring = Scoring(PruningSettings(**settings), matrices)
    groups = group(matrices, settings.get("genes", "block"))
    return Masks(groups, scoring.stored(model, groups, tokens)), scoring


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("scope", ["row", "matrix", "block"])
def test_every_score_and_scope_is_on_budget_and_removes_the_lowest(name, scope, model, tokens):
    before = {matrix.name: matrix.weight.clone() for matrix in find_matrices(model)}
    found, scoring = masks(model, tokens, score=name, scope=scope)
    scores = {matrix.name: matrix.rows(score) for matrix, score in scoring.scored(model, tokens)}
    sparsity = found.apply([0.3, 0.5, 0.8])
    assert sparsity == pytest.approx(sum((0.3, 0.5, 0.8)) / 3, abs=1e-4)
    for of_block in found.groups:
        lost = [(scores[m.name], m.rows(found.kept(m))) for m in of_block.matrices]
        parts = {
            "block": [(torch.cat([s.flatten() for s, _ in lost]), torch.cat([k.flatten() for _, k in lost]))],
            "matrix": lost,
            "row": [pair for s, k in lost for pair in zip(s, k, strict=True)],
        }[scope]
        for score, kept in parts:
            # A block is split by a table, exact to one place of 4,096: a few of its weights may be on the wrong side.
            wrong = int((score[~kept] > score[kept].min()).sum()) if kept.any() else 0
            assert wrong <= (score.numel() / 4096 + len(lost) if scope == "block" else 0)
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


def test_a_kind_that_is_not_there_is_refused(model):
    with pytest.raises(InputError, match=r"no matrix is called 'mlp\.nothing' \(known: "):
        Scoring(PruningSettings(scores={"mlp.nothing": "wanda"}), find_matrices(model))


def test_a_score_that_asks_for_what_there_is_not_or_gives_nonsense_is_refused(model, tokens, tmp_path, monkeypatch):
    (tmp_path / "odd_scores.py").write_text(
        "def greedy(weight, *, hessian):\n    return weight\n\ndef nan(weight):\n    return weight / 0 * 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugin("odd_scores")
    with pytest.raises(InputError, match="asks for hessian; the statistics there are: gradient_sizes"):
        find_score("odd_scores:greedy")
    with pytest.raises(InputError, match="scores that are not finite"):
        masks(model, tokens, score="odd_scores:nan")


def test_a_model_without_need_of_statistics_is_never_run(model):
    assert masks(model, torch.empty(0, 1))[0].apply([0.5, 0.5, 0.5]) == pytest.approx(0.5, abs=1e-4)
