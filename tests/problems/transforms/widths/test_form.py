"""Models of equal widths are loaded by plain transformers; others are refused."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, FalconForCausalLM, PhiConfig, PhiForCausalLM

from evoprune import Choice
from problems.export import ragged_model
from problems.transforms.widths.unit_cut import has_form
from tests.problems.transforms.widths.slow import ALL, cut_of

WRITABLE = [*((architecture, "channels") for architecture in ALL), ("llama", "heads"), ("gemma", "heads")]


@pytest.mark.parametrize(("architecture", "cut"), WRITABLE)
def test_equal_widths_are_reloaded_with_the_same_logits(architecture, cut, tokens, tmp_path):
    transform = cut_of(architecture, cut)
    transform.apply([1.0] * 3)
    assert transform.plain
    written = copy.deepcopy(transform.resident.model)
    transform.write(written)
    written.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    expected = transform.resident.model(tokens).logits
    assert (loaded(tokens).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in transform.resident.model.parameters())


@pytest.mark.parametrize("cut", ["channels", "heads"])
@pytest.mark.parametrize("genome", [[1.0, 1.0, 0.0], [2.0, 2.0, 1.0], [4.0, 4.0, 4.0]])
def test_other_widths_have_no_form_that_transformers_loads(cut, genome):
    transform = cut_of("opt", cut)
    transform.apply(genome)
    assert not transform.plain


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "gpt_neox"])
@pytest.mark.parametrize("level", [1.0, 2.0])
def test_fewer_heads_have_none_where_the_config_cannot_say_their_size(architecture, level):
    transform = cut_of(architecture, "heads")
    before = transform.resident.model.config.to_dict()
    transform.apply([level] * 3)
    assert not transform.plain
    assert transform.resident.model.config.to_dict() == before


def test_norms_of_whole_heads_are_of_other_sizes_in_a_config():
    config = PhiConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        qk_layernorm=True,
    )  # fmt: skip
    model = PhiForCausalLM(config)
    assert has_form(model, {})
    model.model.layers[0].self_attn.q_layernorm = torch.nn.LayerNorm(8)
    assert not has_form(model, {})


def test_a_config_that_refuses_a_value_has_no_form_for_it():
    model = FalconForCausalLM(FalconConfig(vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2))
    assert not has_form(model, {"head_dim": 8})


@pytest.mark.parametrize("cut", ["channels", "heads"])
@pytest.mark.parametrize("architecture", ALL)
def test_any_widths_are_read_back_with_the_same_logits(architecture, cut, tokens, tmp_path):
    """Written with the transform and the genome; what stays is chosen by another score when it is read."""
    transform, genome = cut_of(architecture, cut), [1.0, 0.0, 2.0]
    transform.apply(genome)
    ragged_model.save(transform.resident.model, [Choice(use=cut)], genome, tmp_path)
    loaded = ragged_model.load(tmp_path)
    expected = transform.resident.model(tokens).logits
    assert (loaded(tokens).logits - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("cut", ["channels", "heads"])
def test_a_dense_model_is_written_as_it_is(cut):
    transform = cut_of("gpt2", cut)
    model = copy.deepcopy(transform.resident.model)
    before = model.config.to_dict()
    transform.write(model)
    assert model.config.to_dict() == before
