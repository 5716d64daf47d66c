import pytest
import torch

from evoprune.problems.language_model.calibration.statistics import damped_inverse


@pytest.fixture
def gram():
    inputs = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return inputs.T @ inputs / 50


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_share_of_the_mean_diagonal_is_added_and_the_gram_matrix_is_left_alone(gram, share):
    before, one = gram.clone(), torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(damped_inverse(gram, share) @ (gram + share * gram.diagonal().mean() * one), one)
    assert torch.equal(gram, before)


def test_dependent_and_dead_inputs_are_damped(gram):
    assert torch.isfinite(damped_inverse(torch.ones(8, 8, dtype=torch.float64), 1e-18)).all()
    gram[3], gram[:, 3] = 0, 0
    assert damped_inverse(gram).diagonal().argmax() == 3


def test_inputs_that_are_not_finite_are_an_error(gram):
    with pytest.raises(RuntimeError, match="not finite"):
        damped_inverse(gram * torch.nan)
