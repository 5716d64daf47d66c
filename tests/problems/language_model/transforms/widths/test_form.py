"""Models of equal widths are loaded by plain transformers, others by the transform and the genome."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from evoprune.experiment.spec import Choice
from evoprune.problems.language_model.export import ragged_model
from tests.problems.language_model.transforms.widths.slow import ALL, CUTS, cut_of

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


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_any_widths_are_read_back_with_the_same_logits(architecture, cut, tokens, tmp_path):
    """Written with the transform and the genome; the units are chosen by another score when it is read."""
    transform, genome = cut_of(architecture, cut), [1.0, 0.0, 2.0]
    transform.apply(genome)
    ragged_model.save(transform.resident.model, [Choice(use=cut)], genome, tmp_path)
    assert near(ragged_model.load(tmp_path)(tokens).logits, transform.resident.model(tokens).logits)
