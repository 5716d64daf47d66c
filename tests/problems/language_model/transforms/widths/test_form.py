"""Models of equal widths are loaded by plain transformers, others by the transform and the genome."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from evoprune.experiment.spec import Choice
from evoprune.problems.language_model.export import ragged_model
from tests.problems.language_model.transforms.widths.slow import ALL, CUTS, cut_of

WRITABLE = [*((architecture, "channels") for architecture in ALL), ("llama", "heads"), ("gemma", "heads")]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("architecture", ALL)
def test_widths_are_read_back_with_the_same_logits(architecture, cut, tokens, tmp_path):
    """Equal ones by transformers, if a config has entries for them; all by the transform and the genome."""
    for genome in ([1.0] * 3, [1.0, 0.0, 2.0], [gene.up for gene in cut_of(architecture, cut).genes]):
        transform = cut_of(architecture, cut)
        model, before = transform.resident.model, transform.resident.model.config.to_dict()
        transform.apply(genome)
        plain = transform.plain
        assert plain == (genome == [1.0] * 3 and (architecture, cut) in WRITABLE)
        assert model.config.to_dict() == before
        expected = model(tokens).logits
        ragged_model.save(model, [Choice(use=cut)], genome, tmp_path)
        loaded = [ragged_model.load(tmp_path)]
        if plain:
            written = copy.deepcopy(model)
            transform.write(written)
            written.save_pretrained(tmp_path / "plain")
            loaded.append(AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype=torch.float32).eval())
        for each in loaded:
            assert (each(tokens).logits - expected).abs().max() <= 1e-5 * expected.abs().max()
            assert sum(p.numel() for p in each.parameters()) == sum(p.numel() for p in model.parameters())
