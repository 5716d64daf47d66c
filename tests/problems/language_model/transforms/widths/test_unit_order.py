"""Refitted matrices are least-squares solutions, and structured OBS removes the unit that costs the least."""

import numpy
import pytest
import torch

from evoprune.problems.language_model.calibration.statistics import DAMPING, damped_factor
from evoprune.problems.language_model.transforms.widths.unit_order import obs_order, output_errors, refit


def drawn(tokens, width):
    """Correlated inputs ``(tokens, width)``, and a weight."""
    torch.manual_seed(0)
    inputs = torch.randn(tokens, width, dtype=torch.float64) @ torch.randn(width, width, dtype=torch.float64)
    return inputs, torch.randn(5, width, dtype=torch.float64)


@pytest.mark.parametrize("damping", [0.01, 0.5])
def test_a_refitted_matrix_is_the_solution_of_lstsq(damping):
    inputs, weight = drawn(200, 12)
    found = refit(weight, damped_factor(inputs.T @ inputs / 200, damping), 5)
    x, w = inputs.numpy(), weight.numpy()
    ridge = damping * (x**2).mean() * 200
    left = numpy.vstack([x[:, :5], numpy.sqrt(ridge) * numpy.eye(5)])
    right = numpy.vstack([x[:, 5:] @ w[:, 5:].T, numpy.zeros((5, 5))])
    change = numpy.linalg.lstsq(left, right, rcond=None)[0].T
    assert found.numpy() == pytest.approx(w[:, :5] + change, rel=1e-8)
    assert torch.equal(refit(weight, damped_factor(inputs.T @ inputs / 200), 12), weight)
    inputs[:, 1] = 0  # matters to no other input
    weights = refit(weight, damped_factor(inputs.T @ inputs / 200), 3)
    assert torch.isfinite(weights).all()
    assert torch.allclose(weights[:, 1], weight[:, 1])


def test_losses_are_the_least_errors_of_the_first_inputs():
    inputs, weight = drawn(200, 6)
    found = output_errors(weight, damped_factor(inputs.T @ inputs / 200, 0.05))
    x, w = inputs.numpy(), weight.numpy()
    damped = numpy.vstack([x, numpy.sqrt(0.05 * (x**2).mean() * 200) * numpy.eye(6)])
    wanted = damped @ w.T
    for count in range(7):
        first = damped[:, :count]
        left = wanted - first @ numpy.linalg.lstsq(first, wanted, rcond=None)[0]
        assert float(found[count]) == pytest.approx((left**2).sum() / 200, rel=1e-6, abs=1e-9)


def error(weight, hessian, kept):
    """The squared error with the best weights for the inputs ``kept``."""
    root = numpy.linalg.cholesky(hessian)
    wanted = (weight @ root).T
    if not kept:
        return float((wanted**2).sum())
    return float(((wanted - root[kept].T @ numpy.linalg.lstsq(root[kept].T, wanted, rcond=None)[0]) ** 2).sum())


@pytest.mark.parametrize("size", [1, 3])
def test_each_step_removes_the_unit_that_costs_the_least_after_a_refit(size):
    inputs, weight = drawn(200, 12)
    gram, places = inputs.T @ inputs / 200, torch.randperm(12).view(-1, size)
    hessian = (gram + DAMPING * gram.diagonal().mean() * torch.eye(12)).numpy()
    left, expected = list(range(len(places))), []
    while left:
        kept = lambda unit: places[[other for other in left if other != unit]].flatten().tolist()  # noqa: E731
        expected.append(min(left, key=lambda unit: error(weight.numpy(), hessian, kept(unit))))
        left.remove(expected[-1])
    assert obs_order(weight, gram, places).tolist() == expected[::-1]


def test_several_threads_find_what_one_finds():
    torch.manual_seed(0)
    inputs, weight, places = torch.randn(1000, 576), torch.randn(4, 576), torch.arange(576).view(3, 192)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(obs_order(weight, inputs.T @ inputs / 1000, places).tolist())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
