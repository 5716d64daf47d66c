"""SparseGPT against exact least squares, row by row."""

import pytest
import torch

from problems.reconstruction.update import inverse_factor, sparsegpt
from problems.scores.obs import obs


@pytest.fixture
def layer():
    """A weight ``(12, 40)``, inputs ``(300, 40)`` that share ten causes, and a random mask of half of it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 40, generator=generator)
    causes = torch.randn(300, 10, generator=generator) @ torch.randn(10, 40, generator=generator)
    inputs = causes + 2 * torch.randn(300, 40, generator=generator)
    return weight, inputs, torch.rand(12, 40, generator=generator) < 0.5


def gram(inputs):
    rows = inputs.double()
    return rows.T @ rows / len(rows)


def errors(weight, updated, inputs):
    """The squared output error of each row."""
    return (inputs.double() @ (weight - updated).double().T).square().sum(0)


def least_squares(weight, inputs, kept):
    """The best weights for the mask, each row for itself."""
    best = torch.zeros(weight.shape, dtype=torch.float64)
    for row, stays in enumerate(kept):
        target = inputs.double() @ weight[row].double()
        best[row, stays] = torch.linalg.lstsq(inputs.double()[:, stays], target[:, None]).solution[:, 0]
    return best


@pytest.mark.parametrize("columns", [1, 16, 128])
def test_removed_weights_are_zero_and_the_error_lies_between_the_optimum_and_plain_masking(layer, columns):
    weight, inputs, kept = layer
    updated = sparsegpt(weight, inverse_factor(gram(inputs), damping=0.0), kept, columns=columns)
    assert torch.equal(updated == 0, ~kept)
    ours = errors(weight, updated, inputs)
    exact = errors(weight, least_squares(weight, inputs, kept), inputs)
    assert (ours >= exact * (1 - 1e-6)).all()
    assert exact.sum() < ours.sum() < 0.8 * errors(weight, weight * kept, inputs).sum()


def test_blocks_of_columns_change_nothing_but_rounding(layer):
    weight, inputs, kept = layer
    found = [sparsegpt(weight, inverse_factor(gram(inputs)), kept, columns=columns) for columns in (1, 7, 40)]
    for other in found[1:]:
        assert torch.allclose(found[0], other, atol=1e-4)


def test_exact_where_the_first_columns_go(layer):
    """Every column left then comes after every column removed, and can make up for all of them."""
    weight, inputs, _ = layer
    kept = (torch.arange(40) >= 15).expand(12, 40)
    updated = sparsegpt(weight, inverse_factor(gram(inputs), damping=0.0), kept)
    assert torch.allclose(updated.double(), least_squares(weight, inputs, kept), atol=1e-3)


def test_where_the_last_columns_go_nothing_can_make_up(layer):
    weight, inputs, _ = layer
    kept = (torch.arange(40) < 25).expand(12, 40)
    assert torch.allclose(sparsegpt(weight, inverse_factor(gram(inputs)), kept), weight * kept)


@pytest.mark.parametrize("removed", [0, 1, 123, 240, 479, 480])
def test_its_own_mask_removes_exactly_as_many_as_asked(layer, removed):
    weight, inputs, _ = layer
    updated = sparsegpt(weight, inverse_factor(gram(inputs)), removed=removed, columns=16)
    assert int((updated == 0).sum()) == removed


def test_its_own_mask_loses_less_than_a_random_one(layer):
    weight, inputs, kept = layer
    own = sparsegpt(weight, inverse_factor(gram(inputs)), removed=int((~kept).sum()))
    assert (
        errors(weight, own, inputs).sum()
        < errors(weight, sparsegpt(weight, inverse_factor(gram(inputs)), kept), inputs).sum()
    )


def test_inputs_that_depend_on_each_other_are_no_error(layer):
    weight, inputs, kept = layer
    inputs[:, 1] = inputs[:, 0]
    inputs[:, 2] = 0
    updated = sparsegpt(weight, inverse_factor(gram(inputs)), kept)
    assert torch.isfinite(updated).all()
    assert errors(weight, updated, inputs).sum() < errors(weight, weight * kept, inputs).sum()


def test_weights_of_inputs_that_are_always_zero_go_first(layer):
    weight, inputs, _ = layer
    inputs = inputs / 100
    inputs[:, 7] = 0
    weight[:, 7] = 10
    updated = sparsegpt(weight, inverse_factor(gram(inputs)), removed=len(weight))
    assert torch.equal(updated == 0, (torch.arange(40) == 7).expand(12, 40))
    score = obs(weight, gram=gram(inputs))
    assert score[:, 7].max() < score[:, torch.arange(40) != 7].min()
