"""What attention and MLP of a block are, told from the flow of tensors."""

import pytest
from torch import nn
from transformers import GPTJConfig, GPTJForCausalLM

from evoprune import InputError
from problems.language_model.model.anatomy import take_apart
from problems.language_model.model.blocks import find_blocks, find_matrices
from tests.problems.small import random_model


def test_each_block_has_an_attention_and_an_mlp_that_hold_all_its_matrices(model):
    found = take_apart(model)
    assert [(one.block, one.kind) for one in found] == [(b, k) for b in range(3) for k in ("attention", "mlp")]
    assert sum(one.weights for one in found) == sum(matrix.size for matrix in find_matrices(model))
    for one in found:
        held = sum(p.numel() for p in find_blocks(model)[1][one.block].parameters())
        assert one.weights < one.parameters < held


def test_norms_belong_to_the_sublayer_that_they_feed():
    attention, mlp, *_ = take_apart(random_model("gpt2"))
    assert (list(attention.children), list(mlp.children)) == (["ln_1", "attn"], ["ln_2", "mlp"])
    assert (attention.output, mlp.output) == ("attn", "mlp")


def test_a_norm_that_feeds_both_stays_in_the_block_when_one_of_them_goes():
    model = GPTJForCausalLM(GPTJConfig(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=2, rotary_dim=8))
    assert [list(one.children) for one in take_apart(model.eval())] == [["attn"], ["mlp"]]


def test_blocks_without_an_mlp_are_refused():
    model = random_model("gpt2")
    model.transformer.h[1].mlp = nn.Identity()
    with pytest.raises(InputError, match="block 1 has 0 parts that look like its mlp"):
        take_apart(model)
