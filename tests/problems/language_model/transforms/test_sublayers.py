"""Attention, MLPs and blocks that go: as if their outputs were zero, and without running."""

import pytest
import torch
from transformers import FalconConfig, FalconForCausalLM

from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.sublayers import find_sublayers, set_dropped
from evoprune.problems.language_model.testing import check_transform
from tests.problems.language_model.small import ARCHITECTURES, plain_perplexity, problem_in


@pytest.fixture
def sublayers(language_model):
    """Makes the transform on the small model."""
    return lambda **settings: language_model(transforms={"use": "sublayers"} | settings).session.transform.transforms[0]


def test_a_dropped_attention_is_as_good_as_one_whose_output_is_zero(language_model):
    session = language_model(transforms="sublayers").session
    tokens = session.texts.search.tokens
    place = session.transform.genes.names.index("attention 1")
    genome = [float(at == place) for at in range(6)]
    session.transform.apply(genome)
    found = session.fitness.score_model(session.texts.search).value
    session.transform.apply(session.transform.dense)
    projection = session.resident.model.transformer.h[1].attn.c_proj
    with torch.no_grad():
        projection.weight.zero_()
        projection.bias.zero_()
    assert found == pytest.approx(plain_perplexity(session.resident.model, tokens), rel=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_contract_is_kept_by_each_architecture(language_model, architecture, tmp_path):
    check_transform(language_model(**problem_in(tmp_path, architecture), transforms="sublayers").session, pairs=2)


@pytest.mark.parametrize("kind", ["attention", "mlp"])
def test_a_block_that_adds_in_place_may_lose_a_sublayer(kind):
    config = FalconConfig(vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2)
    model = FalconForCausalLM(config).eval().requires_grad_(False)
    tokens = torch.arange(8)[None]
    (gone,) = (one for one in find_sublayers(model) if (one.block, one.kind) == (1, kind))
    block = find_blocks(model)[1][1]
    set_dropped(block, gone, dropped=True)
    found = model(tokens).logits
    set_dropped(block, gone, dropped=False)
    gone.layers[-1].weight.zero_()
    assert torch.allclose(found, model(tokens).logits, atol=1e-6)


def test_blocks_that_are_kept_have_no_choice(sublayers):
    transform = sublayers(genes="block", keep=(0, -1))
    assert transform.genes.names == ["block 0", "block 1", "block 2"]
    assert transform.genes.free == [1]
