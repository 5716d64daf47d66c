"""Scores by formulas: their values, masks and refusals."""

import math

import pytest
import torch

from evoprune import InputError
from evoprune.cli import main
from evoprune.problems.language_model.scores import find_score, needs, scope_of
from evoprune.problems.language_model.scores.formula import FormulaSettings, parsed
from evoprune.problems.language_model.transforms.weights.masks import ranks_in_matrix, ranks_in_rows


def formula(text, within="row"):
    return find_score(FormulaSettings(formula=text, within=within))


@pytest.fixture
def layer():
    """A weight, and its statistics."""
    torch.manual_seed(0)
    return torch.randn(5, 7), {"input_norms": torch.rand(7) + 0.1, "gradient_squares": torch.rand(5, 7)}


def values(score, weight, measured):
    return score(weight, **{name: measured[name] for name in needs(score)})


def test_a_formula_is_computed_weight_by_weight(layer):
    weight, measured = layer
    score = formula("(w / r + w / c) * sqrt(x) - 0.5 * max(-g, log(x))", "matrix")
    assert (scope_of(score), needs(score)) == ("matrix", {"input_norms", "gradient_squares"})
    found = values(score, weight, measured)
    w = (weight.abs() / weight.abs().mean()).tolist()
    x = (measured["input_norms"] / measured["input_norms"].mean()).tolist()
    gradients = measured["gradient_squares"].sqrt()
    g = (gradients / gradients.mean()).tolist()
    for row in range(5):
        for column in range(7):
            r, c = sum(w[row]), sum(w[i][column] for i in range(5))
            expected = (w[row][column] / r + w[row][column] / c) * math.sqrt(x[column])
            expected -= 0.5 * max(-g[row][column], math.log(x[column]))
            assert float(found[row, column]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "name", "ranks"),
    [
        ("w * x", "wanda", ranks_in_rows),
        ("x*x * (w*w)", "wanda", ranks_in_rows),
        ("abs(-w) + 1", "magnitude", ranks_in_matrix),
        ("w * (x + g)", "gblm", ranks_in_matrix),
    ],
)
def test_a_known_score_as_a_formula_ranks_the_weights_as_it_does(text, name, ranks, layer):
    known = values(find_score(name), *layer)
    assert torch.equal(ranks(values(formula(text), *layer)), ranks(known))


@pytest.mark.parametrize("text", ["2", "exp(exp(exp(w * 99)))", "log(x - x) * w / (w - w)", "exp(999*w) - exp(999*w)"])
def test_every_formula_gives_a_finite_number_for_each_weight(text, layer):
    found = values(formula(text), *layer)
    assert found.shape == layer[0].shape
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("w * y", "y"), ("__import__('os')", "__import__"), ("w.data", "w.data"), ("sqrt(w, x)", "sqrt"),
        ("add(w) * g", "add"), ("w ** 2", "**"), ("w *", "w *"), ("", "formula"), ("1e999", "inf"), ("sqrt", "sqrt"),
        ("+".join("w" * 3000), "w"), ("9" * 5000, "9"), ("max(w, x, key=g)", "max"), ("True", "True"),
    ],
)  # fmt: skip
def test_text_that_is_no_formula_is_refused(text, told):
    with pytest.raises(InputError) as refused:
        parsed(text)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{formula: w * y}", ["problem.score: formula: ", "'y'"]),
        ("{formla: w}", ["problem.score: ", "'formula'"]),
        ("{formula: w, within: block}", ["problem.score: within: ", "'matrix'"]),
        ("3", ["problem.score: ", "3"]),
    ],
)
def test_a_wrong_formula_in_an_experiment_is_told_by_its_key(given, told, capsys):
    assert main(["validate", "problems/gpt2_mini.yaml", "--set", f"problem.score={given}"]) == 2
    errors = capsys.readouterr().err
    assert all(each in errors for each in told)
    assert len(errors.splitlines()) == 1


def test_a_formula_is_not_evaluated_as_python(monkeypatch):
    monkeypatch.setattr("builtins.eval", None)
    assert str(parsed("(w+x) * sqrt(g)")) == "(w + x) * sqrt(g)"


def test_a_model_is_pruned_by_a_formula_as_by_the_score_that_it_is(pruning):
    def stated(score):
        session = pruning(score=score).session
        session.transform.apply([0.5] * 3)
        weights = [matrix.weight.clone() for matrix in session.resident.matrices]
        return weights, session.protocol()["score"]

    (known, _), (found, label) = stated("wanda"), stated({"formula": "w * x"})
    assert all(torch.equal(one, other) for one, other in zip(known, found, strict=True))
    assert label == "w * x by row"
