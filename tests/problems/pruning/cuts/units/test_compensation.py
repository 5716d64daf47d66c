"""The refitted matrix is the least-squares solution."""

import numpy
import pytest
import torch

from problems.pruning.cuts.units.compensation import refitted


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
