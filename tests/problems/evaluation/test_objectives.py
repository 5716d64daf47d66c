import math

import pytest
import torch

from problems.evaluation.measure import Divergence, Perplexity


@pytest.fixture
def logits():
    """Of a dense and of a pruned model: 40 predictions over 50 tokens."""
    generator = torch.Generator().manual_seed(0)
    dense = 3 * torch.randn(40, 50, generator=generator)
    return dense, dense + torch.randn(40, 50, generator=generator)


def divergence(dense, pruned, top):
    objective, targets = Divergence(len(dense), top), torch.zeros(len(dense), dtype=torch.int64)
    for first in range(0, len(dense), 16):
        rows = slice(first, first + 16)
        assert objective.learn(dense[rows], targets[rows], first) == 0
    total = sum(float(objective.add(pruned[f : f + 8], targets[f : f + 8], f)) for f in range(0, len(dense), 8))
    return objective.value(total, len(dense))


def plain_divergence(dense, pruned):
    """One prediction and one token after another."""
    total = 0.0
    for p_row, q_row in zip(dense.double().softmax(-1).tolist(), pruned.double().softmax(-1).tolist(), strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(p_row, q_row, strict=True))
    return total / len(dense)


def test_all_tokens_kept_give_the_divergence_itself(logits):
    assert divergence(*logits, top=50) == pytest.approx(plain_divergence(*logits), rel=1e-4)


def test_fewer_tokens_give_a_lower_bound_that_rises_to_it(logits):
    bounds = [divergence(*logits, top=top) for top in (1, 4, 16, 49)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 0
    assert bounds[-1] <= plain_divergence(*logits) * (1 + 1e-5)


def test_the_dense_model_does_not_diverge_from_itself(logits):
    assert divergence(logits[0], logits[0], top=8) == pytest.approx(0, abs=1e-6)


def test_certain_predictions_stay_finite():
    sure = torch.zeros(2, 50)
    sure[:, 0] = 1e4
    other = torch.zeros(2, 50)
    other[:, 1] = 1e4
    assert math.isfinite(divergence(sure, other, top=4))


def test_perplexity_is_exp_of_the_mean():
    assert Perplexity().value(2 * math.log(7), 2) == pytest.approx(7)
