"""Units are told apart by running the model, and levels count them; models that cannot be narrowed are refused."""

import pytest
import torch
from torch import nn
from transformers import Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM

from evoprune import InputError
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.widths.cuts import Channels, Heads
from tests.problems.language_model.small import VOCABULARY
from tests.problems.language_model.transforms.widths.slow import cut_of, model_of

SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip


def test_fused_matrices_are_told_apart():
    rows = {name: cut_of(name, "heads")._units[0].slices[0].indices[1].tolist() for name in ("gpt2", "gpt_neox")}
    assert rows["gpt2"] == [*range(16, 32), *range(80, 96), *range(144, 160)]
    assert rows["gpt_neox"] == list(range(48, 96))
    model = Phi3ForCausalLM(Phi3Config(**SHAPE)).eval().requires_grad_(False)
    transform = Channels(Resident(model, None, ""), Channels.Settings(), None)
    assert transform._units[0].slices[0].indices[5].tolist() == [5, 101]


def test_a_norm_over_all_heads_and_another_shape_are_refused_and_the_model_left_as_it_was(tokens):
    model = Olmo2ForCausalLM(Olmo2Config(**SHAPE)).eval().requires_grad_(False)
    before = model(tokens).logits
    with pytest.raises(InputError, match=r"Olmo2ForCausalLM .*self_attn.q_proj"):
        Heads(Resident(model, None, ""), Heads.Settings(), None)
    assert torch.equal(model(tokens).logits, before)
    model = model_of("llama")
    for block in model.model.layers:
        block.self_attn.q_proj = nn.Linear(64, 40, bias=False)
        block.self_attn.forward = lambda hidden_states, layer=block.self_attn, **_: (
            layer.o_proj(layer.v_proj(hidden_states).repeat(1, 1, 2) + layer.q_proj(hidden_states).sum()),
            None,
        )
    with pytest.raises(InputError, match=r"block 0 .*self_attn.q_proj .*40"):
        Heads(Resident(model, None, ""), Heads.Settings(), None)


def test_levels_count_query_heads_in_whole_groups_and_channels_in_steps():
    for architecture, levels in {"gpt2": (4, 3, 2, 1, 0), "llama": (4, 2, 0)}.items():
        genes = cut_of(architecture, "heads").genes
        assert [(gene.name, gene.levels) for gene in genes] == [(f"heads {block}", levels) for block in range(3)]
    genes = cut_of("opt", "channels", step=64).genes
    assert [(gene.name, gene.levels) for gene in genes] == [(f"channels {block}", (128, 64, 0)) for block in range(3)]
    with pytest.raises(InputError, match=r"transforms\.step: .*48.*256"):
        cut_of("gpt2", "channels", step=48)
