import math

import pytest
import torch

from problems.pruning.groups import group
from problems.pruning.masks import Masks
from problems.pruning.model.blocks import find_matrices
from problems.pruning.perplexity import Perplexity
from problems.pruning.ranks import ranks_in_matrix
from tests.problems.pruning.conftest import plain_perplexity


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_agrees_with_a_plain_forward_dense_and_masked(model, tokens, batch_tokens):
    ours = Perplexity(model, batch_tokens)
    assert ours(tokens) == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    masks = Masks(group(find_matrices(model), "block"), lambda m: ranks_in_matrix(m.weight.abs()))
    dense = ours(tokens)
    masks.apply([0.2, 0.5, 0.7])
    assert ours(tokens) == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)
    assert ours(tokens) != pytest.approx(dense, rel=1e-3)


def test_logits_are_chunked_where_the_head_is_plain(model):
    assert Perplexity(model, 64)._chunked


def test_a_model_that_scales_its_logits_gets_its_whole_forward(model, tokens):
    forward = model.forward

    def scaled(*args, **kwargs):
        output = forward(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    assert Perplexity(model, 64)(tokens) == pytest.approx(plain_perplexity(model, tokens), rel=1e-5)


def test_uniform_logits_give_the_vocabulary_size(model, tokens):
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    assert Perplexity(model, 64)(tokens) == pytest.approx(128, rel=1e-5)


def test_overflow_is_infinity_and_nan_stays_nan(model, tokens):
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e6)
    assert Perplexity(model, 64)(tokens) == math.inf
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(math.nan)
    assert math.isnan(Perplexity(model, 64)(tokens))
