"""The refitted matrix is the least-squares solution."""

import numpy
import pytest
import torch

from problems.transforms.widths.refit import losses, refitted


@pytest.mark.parametrize("damping", [0.01, 0.5])
def test_it_is_what_lstsq_finds(damping):
    torch.manual_seed(0)
    inputs = torch.randn(200, 12, dtype=torch.float64) @ torch.randn(12, 12, dtype=torch.float64)
    weight = torch.randn(5, 12, dtype=torch.float64)
    kept, cut = [0, 3, 4, 8, 11], [1, 2, 5, 6, 7, 9, 10]
    found = refitted(weight, inputs.T @ inputs / 200, torch.tensor(kept), damping)
    x, w = inputs.numpy(), weight.numpy()
    ridge = damping * (x[:, kept] ** 2).mean() * 200
    left = numpy.vstack([x[:, kept], numpy.sqrt(ridge) * numpy.eye(5)])
    right = numpy.vstack([x[:, cut] @ w[:, cut].T, numpy.zeros((5, 5))])
    change = numpy.linalg.lstsq(left, right, rcond=None)[0].T
    assert found.numpy() == pytest.approx(w[:, kept] + change, rel=1e-8)


def test_nothing_changes_where_nothing_is_cut():
    weight = torch.randn(3, 4)
    gram = torch.eye(4)
    assert torch.equal(refitted(weight, gram, torch.arange(4)), weight)


def test_inputs_that_were_always_zero_do_not_matter():
    torch.manual_seed(0)
    inputs = torch.randn(50, 4)
    inputs[:, 1] = 0
    weight = torch.randn(3, 4)
    found = refitted(weight, inputs.T @ inputs / 50, torch.tensor([0, 1, 2]))
    assert torch.isfinite(found).all()
    assert torch.allclose(found[:, 1], weight[:, 1])


def test_what_is_lost_is_the_least_error_of_the_first_inputs():
    torch.manual_seed(0)
    inputs = torch.randn(200, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64)
    weight, order = torch.randn(5, 6, dtype=torch.float64), [4, 0, 3, 5, 1, 2]
    found = losses(weight, inputs.T @ inputs / 200, torch.tensor(order), 0.05)
    x, w = inputs.numpy(), weight.numpy()
    damped = numpy.vstack([x, numpy.sqrt(0.05 * (x**2).mean() * 200) * numpy.eye(6)])
    wanted = damped @ w.T
    for count in range(7):
        first = damped[:, order[:count]]
        left = wanted - first @ numpy.linalg.lstsq(first, wanted, rcond=None)[0]
        assert float(found[count]) == pytest.approx((left**2).sum() / 200, rel=1e-6, abs=1e-9)
