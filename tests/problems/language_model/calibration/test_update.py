"""Updates of one layer against exact least squares, row by row."""

import pytest
import torch

from evoprune.problems.language_model.calibration import update as updates
from evoprune.problems.language_model.calibration.update import inverse_factor, sparsegpt, update


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


def test_least_squares_err_less_than_sparsegpt_with_the_same_mask(layer):
    weight, inputs, kept = layer
    moments, removed = gram(inputs).float(), int((~kept).sum())
    factor = inverse_factor(moments)
    first, second = sparsegpt(weight, factor, removed), update(weight, moments, factor, removed)
    assert int((first == 0).sum()) == removed
    assert torch.equal(first != 0, second != 0)
    found = [errors(weight, updated, inputs).sum() for updated in (second, first, weight * (first != 0))]
    assert found == sorted(found)


@pytest.mark.parametrize("columns", [1, 16, 128])
def test_the_error_of_sparsegpt_lies_between_the_optimum_and_plain_masking(layer, columns):
    weight, inputs, _ = layer
    updated = sparsegpt(weight, inverse_factor(gram(inputs), damping=0.0), 240, columns)
    kept = updated != 0
    ours = errors(weight, updated, inputs)
    exact = errors(weight, least_squares(weight, inputs, kept), inputs)
    assert (ours >= exact * (1 - 1e-6)).all()
    assert exact.sum() < ours.sum() < errors(weight, weight * kept, inputs).sum()


@pytest.mark.parametrize("removed", [0, 1, 123, 240, 479, 480])
def test_its_own_mask_removes_exactly_as_many_as_asked_and_loses_less_than_a_random_one(layer, removed):
    weight, inputs, kept = layer
    factor = inverse_factor(gram(inputs))
    updated = sparsegpt(weight, factor, removed, columns=16)
    assert int((updated == 0).sum()) == removed
    if removed <= (~kept).sum():
        assert errors(weight, updated, inputs).sum() < errors(weight, least_squares(weight, inputs, kept), inputs).sum()


def test_inputs_that_depend_on_each_other_are_no_error_and_weights_of_dead_ones_go_first(layer):
    weight, inputs, _ = layer
    inputs[:, 1] = inputs[:, 0]
    inputs[:, 7] = 0
    weight[:, 7] = 10
    factor = inverse_factor(gram(inputs))
    updated = sparsegpt(weight, factor, 240)
    assert torch.isfinite(updated).all()
    assert errors(weight, updated, inputs).sum() < errors(weight, weight * (updated != 0), inputs).sum()
    gone = sparsegpt(weight, factor, len(weight)) == 0
    assert torch.equal(gone, (torch.arange(40) == 7).expand(12, 40))


def conjugate(weight, inputs, kept, start, **given):
    return updates.least_squares(weight, gram(inputs), kept, start, **{"damping": 0.0, "gain": 0.0} | given)


def test_conjugate_gradients_find_the_optimum_and_end_early_near_it(layer):
    weight, inputs, kept = layer
    start = (weight * kept).double()
    best = conjugate(weight, inputs, kept, start, steps=60)
    assert torch.allclose(best, least_squares(weight, inputs, kept), atol=1e-6)
    ended = conjugate(weight, inputs, kept, start, steps=60, gain=1e-3)
    assert not torch.equal(ended, best)
    assert errors(weight, ended, inputs).sum() < 1.02 * errors(weight, best, inputs).sum()


def test_no_step_raises_the_error_whatever_the_start(layer):
    weight, inputs, kept = layer
    for start in (weight * kept, sparsegpt(weight, inverse_factor(gram(inputs), damping=0.0), 240)):
        kept = start != 0
        before = errors(weight, start, inputs)
        for steps in (1, 2, 5, 20):
            found = conjugate(weight, inputs, kept, start.double(), steps=steps)
            after = errors(weight, found, inputs)
            assert (after <= before * (1 + 1e-9)).all()
            assert torch.equal(found == 0, ~kept)
            before = after


def test_dead_inputs_and_rows_that_keep_nothing_or_all(layer):
    weight, inputs, kept = layer
    inputs[:, 3] = 0
    kept[0], kept[1] = False, True
    found = conjugate(weight, inputs, kept, weight * kept, gain=1e-3)
    assert torch.isfinite(found).all()
    assert (found[0] == 0).all()
    assert torch.allclose(found[1], weight[1])
