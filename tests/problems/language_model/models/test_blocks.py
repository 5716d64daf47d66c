import pytest
import torch
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import (
    attentions_numbered,
    find_blocks,
    find_matrices,
    find_mixtures,
    keep_blocks,
)
from evoprune.problems.language_model.models.sublayers import find_sublayers, set_dropped

SHAPE = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip


def test_all_and_only_the_matrices_in_the_blocks_are_found(model):
    matrices = find_matrices(model)
    name, _ = find_blocks(model)
    inside = {id(p) for n, p in model.named_parameters() if n.startswith(name) and p.dim() == 2}
    assert {id(matrix.weight) for matrix in matrices} == inside
    assert all(model.get_submodule(matrix.name) is matrix.module for matrix in matrices)
    kinds = [[m.kind for m in matrices if m.block == block] for block in range(3)]
    assert kinds[0] == kinds[1] == kinds[2]
    assert {matrix.transposed for matrix in matrices} == {model.config.model_type == "gpt2"}


def test_a_list_within_a_block_is_not_taken_for_the_blocks():
    experts = lambda: nn.ModuleList(nn.Linear(4, 4) for _ in range(9))  # noqa: E731
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"experts": experts()}) for _ in range(2))
    assert find_blocks(model)[0] == "layers"


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(4, 4)), nn.ModuleList([nn.ReLU(), nn.ReLU()])])
def test_a_model_without_blocks_is_refused(model):
    with pytest.raises(InputError, match=r"problem\.model"):
        find_blocks(model)


@pytest.mark.parametrize("block", [0, 1])
def test_experts_without_a_router_are_refused_and_convolutions_are_none(block):
    model = nn.Module()
    model.layers = nn.ModuleList(nn.ModuleDict({"mlp": nn.Linear(4, 4), "conv": nn.Conv1d(4, 4, 3)}) for _ in range(2))
    assert len(find_matrices(model)) == 2
    assert not find_mixtures(model)
    model.layers[block]["mlp"].up_proj = nn.Parameter(torch.ones(8, 4, 4))
    with pytest.raises(InputError, match=r"problem\.model: .*\.mlp\b"):
        find_mixtures(model)


def test_all_that_a_config_says_of_each_block_goes_with_it(tokens, tmp_path):
    config = SmolLM3Config(**SHAPE, no_rope_layers=[1, 0, 1, 1], max_window_layers=4)
    model = SmolLM3ForCausalLM(config).eval()
    keep_blocks(model, [0, 2, 3])
    model.save_pretrained(tmp_path)
    assert model.config.no_rope_layers == [1, 1, 1]
    loaded = SmolLM3ForCausalLM.from_pretrained(tmp_path).eval()
    found, expected = (each(tokens, use_cache=False).logits for each in (loaded, model))
    assert torch.allclose(found, expected, atol=1e-5)


def test_attentions_that_are_left_have_places_of_their_kind_in_a_cache(tokens):
    config = Gemma2Config(**SHAPE, head_dim=16, sliding_window=8)
    model = Gemma2ForCausalLM(config).eval().requires_grad_(False)
    assert config.layer_types == ["sliding_attention", "full_attention"] * 2
    (gone,) = (one for one in find_sublayers(model) if (one.block, one.kind) == (1, "attention"))
    set_dropped(find_blocks(model)[1][1], gone, dropped=True)
    plain = tokens[:2, :20]
    for _ in range(8):
        plain = torch.cat([plain, model(plain, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    numbers = [m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")]
    with attentions_numbered(model):
        found = model.generate(tokens[:2, :20], min_new_tokens=8, max_new_tokens=8, do_sample=False)
    assert torch.equal(found, plain)
    assert [m.layer_idx for m in model.modules() if hasattr(m, "layer_idx")] == numbers
