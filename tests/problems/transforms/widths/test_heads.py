"""Levels of heads."""

import pytest
from torch import nn

from evoprune import InputError
from problems.models.resident import Resident
from problems.transforms.widths.heads import Heads
from tests.problems.transforms.widths.slow import cut_of, model_of


@pytest.mark.parametrize(("architecture", "levels"), [("gpt2", (4, 3, 2, 1, 0)), ("llama", (4, 2, 0))])
def test_levels_count_query_heads_in_whole_groups(architecture, levels):
    genes = cut_of(architecture, "heads").genes
    assert [(gene.name, gene.levels) for gene in genes] == [(f"heads {block}", levels) for block in range(3)]


def test_a_projection_of_another_shape_is_named():
    model = model_of("llama")
    for block in model.model.layers:
        block.self_attn.q_proj = nn.Linear(64, 40, bias=False)
        block.self_attn.forward = lambda hidden_states, layer=block.self_attn, **_: (
            layer.o_proj(layer.v_proj(hidden_states).repeat(1, 1, 2) + layer.q_proj(hidden_states).sum()),
            None,
        )
    with pytest.raises(InputError, match=r"attention of block 0 cannot be narrowed: self_attn.q_proj has 40 outputs"):
        Heads(Resident(model, None, ""), Heads.Settings(), None)
