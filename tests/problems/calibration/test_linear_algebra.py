import pytest
import torch

from problems.calibration.linear_algebra import damped_inverse


@pytest.fixture
def gram():
    inputs = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return inputs.T @ inputs / 50


def test_a_share_of_the_mean_diagonal_is_added_to_the_diagonal_and_the_gram_matrix_is_left_alone(gram):
    before = gram.clone()
    damped = gram + 0.1 * gram.diagonal().mean() * torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(damped_inverse(gram, 0.1) @ damped, torch.eye(8, dtype=torch.float64))
    assert torch.equal(gram, before)


def test_inputs_that_depend_on_each_other_are_damped_until_there_is_an_inverse():
    alike = torch.ones(8, 8, dtype=torch.float64)
    assert torch.isfinite(damped_inverse(alike, 1e-18)).all()


def test_an_input_that_was_always_zero_counts_as_next_to_nothing(gram):
    gram[3], gram[:, 3] = 0, 0
    assert damped_inverse(gram).diagonal().argmax() == 3


def test_inputs_that_are_not_finite_are_an_error(gram):
    with pytest.raises(RuntimeError, match="not finite"):
        damped_inverse(gram * torch.nan)
