"""Models of equal widths are loaded by plain transformers, others by the transform and the genome."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconConfig, FalconForCausalLM, PhiConfig, PhiForCausalLM

from evoprune import Choice
from problems.export import ragged_model
from problems.transforms.widths.units import has_form
from tests.problems.transforms.widths.slow import ALL, CUTS, cut_of

WRITABLE = [*((architecture, "channels") for architecture in ALL), ("llama", "heads"), ("gemma", "heads")]


def near(found, expected):
    return (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("architecture", "cut"), WRITABLE)
def test_equal_widths_are_reloaded_with_the_same_logits(architecture, cut, tokens, tmp_path):
    transform = cut_of(architecture, cut)
    transform.apply([1.0] * 3)
    assert transform.plain
    written = copy.deepcopy(transform.resident.model)
    transform.write(written)
    written.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert near(loaded(tokens).logits, transform.resident.model(tokens).logits)
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in transform.resident.model.parameters())


@pytest.mark.parametrize(
    ("architecture", "cut", "genome"),
    [
        *(("opt", cut, genome) for cut in CUTS for genome in ([1.0, 1.0, 0.0], [4.0] * 3)),
        *((name, "heads", [1.0] * 3) for name in ("gpt2", "opt", "gpt_neox")),  # whose config cannot say their size
    ],
)
def test_other_widths_have_no_form_that_transformers_loads(architecture, cut, genome):
    transform = cut_of(architecture, cut)
    before = transform.resident.model.config.to_dict()
    transform.apply(genome)
    assert not transform.plain
    assert transform.resident.model.config.to_dict() == before


def test_what_a_config_cannot_say_or_refuses_has_no_form():
    config = PhiConfig(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        qk_layernorm=True,
    )  # fmt: skip
    model = PhiForCausalLM(config)
    assert has_form(model, {})
    model.model.layers[0].self_attn.q_layernorm = torch.nn.LayerNorm(8)
    assert not has_form(model, {})
    falcon = FalconForCausalLM(FalconConfig(vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2))
    assert not has_form(falcon, {"head_dim": 8})


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_any_widths_are_read_back_with_the_same_logits(architecture, cut, tokens, tmp_path):
    """Written with the transform and the genome; the units are chosen by another score when it is read."""
    transform, genome = cut_of(architecture, cut), [1.0, 0.0, 2.0]
    transform.apply(genome)
    ragged_model.save(transform.resident.model, [Choice(use=cut)], genome, tmp_path)
    assert near(ragged_model.load(tmp_path)(tokens).logits, transform.resident.model(tokens).logits)
