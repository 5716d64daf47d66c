import pytest
import torch
from torch import nn
from transformers import GPTJConfig, GPTJForCausalLM, MptConfig, MptForCausalLM

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import find_blocks, find_matrices
from evoprune.problems.language_model.models.sublayers import find_sublayers
from tests.problems.language_model.small import random_model


def test_each_block_has_an_attention_and_an_mlp_that_hold_all_its_matrices(model, tokens):
    before = model(tokens).logits
    found = find_sublayers(model)
    assert torch.equal(model(tokens).logits, before)
    assert [(one.block, one.kind) for one in found] == [(b, k) for b in range(3) for k in ("attention", "mlp")]
    assert sum(one.weights for one in found) == sum(matrix.size for matrix in find_matrices(model))
    for one in found:
        assert one.weights < one.parameters < sum(p.numel() for p in find_blocks(model)[1][one.block].parameters())


def test_norms_belong_to_the_sublayer_that_they_feed():
    attention, mlp, *_ = find_sublayers(random_model("gpt2"))
    assert (list(attention.children), list(mlp.children)) == (["ln_1", "attn"], ["ln_2", "mlp"])
    assert (attention.output, mlp.output) == ("attn", "mlp")


def test_a_norm_that_feeds_both_belongs_to_none():
    model = GPTJForCausalLM(GPTJConfig(vocab_size=32, n_positions=16, n_embd=32, n_layer=1, n_head=2, rotary_dim=8))
    assert [list(one.children) for one in find_sublayers(model.eval())] == [["attn"], ["mlp"]]


def test_blocks_that_add_something_else_or_lack_an_mlp_are_refused():
    config = MptConfig(d_model=32, n_heads=2, n_layers=2, vocab_size=32, max_seq_len=16)
    with pytest.raises(InputError, match="block 0 "):  # its MLP adds the hidden states itself
        find_sublayers(MptForCausalLM(config).eval())
    model = random_model("gpt2")
    model.transformer.h[1].mlp = nn.Identity()
    with pytest.raises(InputError, match=r"block 1 .* mlp"):
        find_sublayers(model)
