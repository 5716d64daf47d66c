"""Every registered score, against its definition weight by weight; the properties of a score."""

import math

import pytest
import torch

from evoprune import InputError
from evoprune.experiment.registry import names, plugin
from evoprune.problems.language_model.scores import SCORES, by_row, find_score, needs, scope_of, source

REGISTERED = sorted(names(SCORES))


@pytest.fixture
def layer():
    """A small weight, inputs ``(tokens, in)``, and gradients a window, float64."""
    generator = torch.Generator().manual_seed(0)
    weight, inputs = (torch.randn(shape, generator=generator).double() for shape in ((4, 6), (50, 6)))
    inputs[:, 0] *= 5
    inputs[:, 1] += inputs[:, 0]
    return weight, inputs, torch.randn(3, 4, 6, generator=generator).double()


def slowly(name, weight, inputs, gradients, row, column):
    size, norm = abs(float(weight[row, column])), math.sqrt(sum(float(x) ** 2 for x in inputs[:, column]))
    norms = [math.sqrt(sum(float(x) ** 2 for x in inputs[:, j])) for j in range(6)]
    steepness = [[math.sqrt(sum(float(g[i, j]) ** 2 for g in gradients) / 3) for j in range(6)] for i in range(4)]
    definitions = {
        "magnitude": lambda: size,
        "wanda": lambda: size * norm,
        "gblm": lambda: size * (norm * 6 / sum(norms) + steepness[row][column] * 24 / sum(map(sum, steepness))),
    }
    assert name in definitions, f"no definition of '{name}': add one, of a single weight, to slowly() in {__file__}"
    return definitions[name]()


def scored(name, weight, inputs, gradients):
    known = {"input_norms": inputs.norm(dim=0), "gradient_squares": gradients.square().mean(0)}
    score = find_score(name)
    return score(weight, **{statistic: known[statistic] for statistic in needs(score)})


@pytest.mark.parametrize("name", REGISTERED)
def test_a_score_is_what_its_definition_says(name, layer):
    found = scored(name, *layer)
    for row in range(4):
        for column in range(6):
            assert float(found[row, column]) == pytest.approx(slowly(name, *layer, row, column), rel=1e-6)


@pytest.mark.parametrize("name", REGISTERED)
def test_dead_inputs_and_weights_of_zero_are_scored(name, layer):
    weight, inputs, gradients = (tensor.float() for tensor in layer)
    weight[1] = inputs[:, 2] = 0
    assert torch.isfinite(scored(name, weight, inputs, gradients)).all()


def plain(weight):
    return weight


def test_scope_and_source_are_known_of_a_function():
    assert (scope_of(plain), scope_of(by_row(lambda weight: weight))) == ("matrix", "row")
    assert "def test_scope_and_source" in source(plain)
    assert source(abs) == ""


def test_a_score_that_asks_for_what_there_is_not_is_refused(tmp_path, monkeypatch):
    (tmp_path / "greedy_scores.py").write_text("def greedy(weight, *, hessian):\n    return weight\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin("greedy_scores")
    with pytest.raises(InputError, match="asks for hessian; the statistics there are: gradient_squares"):
        find_score("greedy_scores:greedy")
