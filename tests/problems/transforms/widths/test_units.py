"""The layout of fused matrices is told by running them; what cannot be narrowed is refused."""

import pytest
import torch
from transformers import Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM

from evoprune import InputError
from problems.models.resident import Resident
from problems.transforms.widths.channels import Channels
from problems.transforms.widths.heads import Heads
from tests.problems.small import VOCABULARY
from tests.problems.transforms.widths.slow import cut_of

SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip


def test_fused_queries_keys_and_values_are_told_apart():
    rows = {name: cut_of(name, "heads")._units[0].parts[0].places[1].tolist() for name in ("gpt2", "gpt_neox")}
    assert rows["gpt2"] == [*range(16, 32), *range(80, 96), *range(144, 160)]
    assert rows["gpt_neox"] == list(range(48, 96))


def test_a_fused_gate_is_told_apart(tokens):
    torch.manual_seed(0)
    model = Phi3ForCausalLM(Phi3Config(**SHAPE)).eval().requires_grad_(False)
    transform = Channels(Resident(model, None, ""), Channels.Settings(), None)
    assert transform._units[0].parts[0].places[5].tolist() == [5, 101]


def test_a_norm_over_all_heads_is_refused():
    model = Olmo2ForCausalLM(Olmo2Config(**SHAPE)).eval().requires_grad_(False)
    with pytest.raises(InputError, match=r"the attention of Olmo2ForCausalLM cannot be narrowed: self_attn.q_proj"):
        Heads(Resident(model, None, ""), Heads.Settings(), None)


def test_a_refused_model_is_left_as_it_was(tokens):
    model = Olmo2ForCausalLM(Olmo2Config(**SHAPE)).eval().requires_grad_(False)
    before = model(tokens).logits
    with pytest.raises(InputError):
        Heads(Resident(model, None, ""), Heads.Settings(), None)
    assert torch.equal(model(tokens).logits, before)
