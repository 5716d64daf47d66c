import math

import pytest
import torch

from evoprune.problems.language_model.evaluation.measure import Divergence, Measure, Perplexity, beside, fitting
from evoprune.problems.language_model.evaluation.prefix_cache import PrefixCache
from evoprune.problems.language_model.models.forward import Forward
from tests.problems.language_model.small import masks_of, perplexity_of, plain_perplexity


@pytest.mark.parametrize("batch_tokens", [1, 64, None])
def test_agrees_with_a_plain_forward_dense_and_masked(model, tokens, batch_tokens):
    dense = perplexity_of(model, tokens, batch_tokens)
    assert dense == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    masks_of(model).apply([0.2, 0.5, 0.7])
    masked = perplexity_of(model, tokens, batch_tokens)
    assert masked == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    assert masked != pytest.approx(dense, rel=1e-3)


def test_a_model_that_scales_its_logits_gets_its_whole_forward(model, tokens):
    forward = model.forward

    def scaled(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    assert perplexity_of(model, tokens) == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)


def test_overflow_is_infinity_and_nan_stays_nan(model, tokens):
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e6)
    assert perplexity_of(model, tokens) == math.inf
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(math.nan)
    assert math.isnan(perplexity_of(model, tokens))


def test_out_of_memory_halves_the_batch_and_goes_on(model, tokens):
    """A loss that asks for more memory than there is, as long as a batch has over two windows."""
    measure, perplexity = Measure(Forward(model), 5 * 32), Perplexity()

    def hungry(logits, targets, first):
        if len(targets) > 2 * 31:
            torch.empty(2**60)
        return perplexity.add(logits, targets, first)

    assert measure.total(tokens, hungry) == pytest.approx(measure.total(tokens, perplexity.add), rel=1e-6)
    assert measure.batch_tokens == 2 * 32


def test_a_gpu_has_room_for_a_batch_on_which_its_workers_agree():
    sizes = [2**20, 2**33, 2**35, 2**38]
    rooms = [beside(size, 2**36) for size in sizes]
    assert rooms == sorted(rooms, reverse=True)
    assert all(0 < room <= max(2**36 - size, 2**33) for room, size in zip(rooms, sizes, strict=True))
    for free in (1, 2**20, 2**31, 3 * 2**30, 80 * 2**30):
        assert 1 <= fitting(free, 32_000) == fitting(int(0.99 * free), 32_000) <= max(1, 0.5 * free / 32_000)


def test_other_errors_are_raised(model, tokens):
    def broken(logits, targets, first):
        raise RuntimeError("no such luck")

    with pytest.raises(RuntimeError, match="no such luck"):
        Measure(Forward(model), None).total(tokens, broken)


def test_the_loss_is_the_same_to_the_last_bit_with_any_number_of_threads(model, tokens, threads):
    def measured():
        states, measure = PrefixCache(3, 32 * 64, 2**20), Measure(Forward(model), 32)
        states.set_candidate(["a", "b", "c"])
        totals = [measure.total(tokens, Perplexity().add, states) for _ in range(2)]  # the second from states
        assert states.bytes
        return totals

    with_threads = measured()
    torch.set_num_threads(1)
    assert with_threads == measured()


@pytest.fixture
def logits():
    """Of a dense and of a pruned model: 40 predictions over 50 tokens."""
    generator = torch.Generator().manual_seed(0)
    dense = 3 * torch.randn(40, 50, generator=generator)
    return dense, dense + torch.randn(40, 50, generator=generator)


def divergence(dense, pruned, top):
    objective, targets, sums = Divergence(len(dense), top), torch.zeros(len(dense), dtype=torch.int64), []
    for first in range(0, len(dense), 16):
        rows = slice(first, first + 16)
        lost = -dense[rows].log_softmax(-1)[:, 0].sum()  # all targets are token 0
        assert objective.store(dense[rows], targets[rows], first) == pytest.approx(float(lost), rel=1e-5)
    for first in range(0, len(dense), 8):
        rows = slice(first, first + 8)
        sums.append(objective.add(pruned[rows], targets[rows], first))
        lost = -pruned[rows].log_softmax(-1)[:, 0].sum()
        assert float(sums[-1][1]) == pytest.approx(float(lost), rel=1e-5)
    return objective.value(float(torch.stack(sums)[:, 0].sum()), len(dense))


def plain_divergence(dense, pruned):
    """One prediction and one token after another."""
    total = 0.0
    for p_row, q_row in zip(dense.double().softmax(-1).tolist(), pruned.double().softmax(-1).tolist(), strict=True):
        total += sum(p * math.log(p / q) for p, q in zip(p_row, q_row, strict=True))
    return total / len(dense)


def test_all_tokens_kept_give_the_divergence_itself(logits):
    assert divergence(*logits, top=50) == pytest.approx(plain_divergence(*logits), rel=1e-4)
    assert divergence(logits[0], logits[0], top=8) == pytest.approx(0, abs=1e-6)


def test_fewer_tokens_give_a_lower_bound_that_rises_to_it(logits):
    bounds = [divergence(*logits, top=top) for top in (1, 4, 16, 49)]
    assert bounds == sorted(bounds)
    assert bounds[0] > 0
    assert bounds[-1] <= plain_divergence(*logits) * (1 + 1e-5)


def test_certain_predictions_stay_finite():
    sure = torch.zeros(2, 50)
    sure[:, 0] = 1e4
    other = torch.zeros(2, 50)
    other[:, 1] = 1e4
    assert math.isfinite(divergence(sure, other, top=4))
