import torch

from problems.reconstruction.update import inverse_factor, sparsegpt
from problems.reconstruction.update import least_squares as conjugate
from tests.problems.reconstruction.test_sparsegpt import errors, gram, layer, least_squares

__all__ = ["layer"]


def test_it_finds_the_optimum_of_each_row(layer):
    weight, inputs, kept = layer
    start = (weight * kept).double()
    found = conjugate(weight, gram(inputs), kept, start, damping=0.0, steps=60, gain=0.0)
    assert torch.allclose(found, least_squares(weight, inputs, kept), atol=1e-6)


def test_no_step_raises_the_error_whatever_the_start(layer):
    weight, inputs, kept = layer
    for start in (weight * kept, sparsegpt(weight, inverse_factor(gram(inputs), damping=0.0), kept)):
        before = errors(weight, start, inputs)
        for steps in (1, 2, 5, 20):
            found = conjugate(weight, gram(inputs), kept, start.double(), damping=0.0, steps=steps, gain=0.0)
            after = errors(weight, found, inputs)
            assert (after <= before * (1 + 1e-9)).all()
            assert torch.equal(found == 0, ~kept)
            before = after


def test_dead_inputs_and_rows_that_keep_nothing_or_all(layer):
    weight, inputs, kept = layer
    inputs[:, 3] = 0
    kept[0], kept[1] = False, True
    found = conjugate(weight, gram(inputs), kept, weight * kept, damping=0.0)
    assert torch.isfinite(found).all()
    assert (found[0] == 0).all()
    assert torch.allclose(found[1], weight[1])


def test_it_ends_when_a_step_gains_little_near_the_optimum(layer):
    weight, inputs, kept = layer
    start = (weight * kept).double()
    ended, best = (conjugate(weight, gram(inputs), kept, start, 0.0, 60, gain) for gain in (1e-3, 0.0))
    assert not torch.equal(ended, best)
    assert errors(weight, ended, inputs).sum() < 1.02 * errors(weight, best, inputs).sum()
