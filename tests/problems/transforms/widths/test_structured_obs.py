"""The units that go first are those that a refit from nothing, tried for each, misses the least."""

import numpy
import pytest
import torch

from problems.calibration.linear_algebra import DAMPING
from problems.transforms.widths.refit import best_first


def error(weight, hessian, kept):
    """What is left of the output when only ``kept`` inputs are used, with the best weights for them."""
    root = numpy.linalg.cholesky(hessian)
    wanted = (weight @ root).T
    if not kept:
        return float((wanted**2).sum())
    return float(((wanted - root[kept].T @ numpy.linalg.lstsq(root[kept].T, wanted, rcond=None)[0]) ** 2).sum())


@pytest.mark.parametrize("size", [1, 3])
def test_each_step_removes_what_costs_the_least_after_a_refit(size):
    torch.manual_seed(size)
    inputs = torch.randn(200, 12, dtype=torch.float64) @ torch.randn(12, 12, dtype=torch.float64)
    weight, gram = torch.randn(5, 12, dtype=torch.float64), inputs.T @ inputs / 200
    places = torch.randperm(12).view(-1, size)
    hessian = (gram + DAMPING * gram.diagonal().mean() * torch.eye(12)).numpy()
    left, expected = list(range(len(places))), []
    while left:
        kept = lambda unit: places[[other for other in left if other != unit]].flatten().tolist()  # noqa: E731
        expected.append(min(left, key=lambda unit: error(weight.numpy(), hessian, kept(unit))))
        left.remove(expected[-1])
    assert best_first(weight, gram, places).tolist() == expected[::-1]


def test_all_of_many_units_are_ordered():
    torch.manual_seed(0)
    inputs = torch.randn(400, 150)
    found = best_first(torch.randn(4, 150), inputs.T @ inputs / 400, torch.arange(150)[:, None])
    assert sorted(found.tolist()) == list(range(150))


def test_several_threads_find_what_one_finds():
    torch.manual_seed(0)
    inputs, weight, places = torch.randn(1000, 576), torch.randn(4, 576), torch.arange(576).view(3, 192)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(best_first(weight, inputs.T @ inputs / 1000, places).tolist())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
