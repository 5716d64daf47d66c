"""One layer's update: which weights remain, and which way finds them."""

import pytest
import torch

from problems.reconstruction.update import Inputs, update


@pytest.fixture
def layer():
    """A weight ``(12, 40)``, the Gram matrix of inputs that share causes, and a random mask of half of it."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(12, 40, generator=generator)
    inputs = torch.randn(300, 10, generator=generator) @ torch.randn(10, 40, generator=generator)
    inputs += torch.randn(300, 40, generator=generator)
    return weight, inputs.T @ inputs / 300, torch.rand(12, 40, generator=generator) < 0.5


@pytest.mark.parametrize("method", ["sparsegpt", "least_squares"])
@pytest.mark.parametrize("mask", ["score", "adaptive"])
def test_as_many_weights_go_as_are_not_kept(layer, method, mask):
    weight, gram, kept = layer
    updated = update(weight, Inputs(gram), kept, method, mask)
    assert int((updated == 0).sum()) == int((~kept).sum())
    assert torch.equal(updated != 0, kept) == (mask == "score")


@pytest.mark.parametrize("mask", ["score", "adaptive"])
def test_least_squares_have_a_smaller_error_than_sparsegpt_with_the_same_mask(layer, mask):
    weight, gram, kept = layer
    first, second = (update(weight, Inputs(gram), kept, method, mask) for method in ("sparsegpt", "least_squares"))
    assert torch.equal(first != 0, second != 0)

    def error(updated):
        return float((((weight - updated) @ gram) * (weight - updated)).sum())

    assert error(second) < error(first) < error(weight * kept)
