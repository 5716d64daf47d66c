"""Routed experts are found by structure, and leaving some out is as masking them in the router."""

from __future__ import annotations

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.models.blocks import find_matrices, find_mixtures
from evoprune.problems.language_model.models.experts import find_experts
from evoprune.problems.language_model.models.sublayers import find_sublayers
from tests.problems.language_model.mixtures import ACTIVE, EXPERTS, LAYOUTS, masked, random_mixture


@pytest.mark.parametrize("layout", LAYOUTS)
def test_experts_left_out_are_as_masked_in_the_router(layout, tokens):
    model = random_mixture(layout)
    before = model(tokens).logits
    found = find_experts(model)
    assert [(each.count, each.active) for each in found] == [(EXPERTS, ACTIVE)] * len(found)
    generator = torch.Generator().manual_seed(2)
    kept = {
        each.block: torch.randperm(EXPERTS, generator=generator)[: 3 + at].sort().values
        for at, each in enumerate(found)
    }
    with masked(model, {block: left.tolist() for block, left in kept.items()}):
        expected = model(tokens).logits
    for each in found:
        each.narrow(kept[each.block])
    assert not torch.allclose(before, expected, atol=1e-2)
    torch.testing.assert_close(model(tokens).logits, expected, atol=1e-5, rtol=1e-5)
    removed = sum((each.count - len(kept[each.block])) * each.parameters for each in found)
    assert (
        sum(p.numel() for p in model.parameters())
        == sum(p.numel() for p in random_mixture(layout).parameters()) - removed
    )
    for each in found:
        each.narrow(torch.arange(EXPERTS))
    assert torch.equal(model(tokens).logits, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shared_experts_and_attention_stay_ordinary_matrices(layout):
    model = random_mixture(layout)
    mixtures, matrices = find_mixtures(model), find_matrices(model)
    others = sum(p.numel() for n, p in model.model.layers.named_parameters() if p.dim() == 2 and "bias" not in n)
    routers = sum(mixture.router.weight.numel() for mixture in mixtures)
    assert sum(matrix.size for matrix in matrices) == others - routers
    weights = sum(sublayer.weights for sublayer in find_sublayers(model))
    assert weights == sum(each.size for each in (*mixtures, *matrices))


def test_groups_and_unknown_routers_are_refused():
    groups = {"n_group": 2, "topk_group": 1, "topk_method": "group_limited_greedy"}
    with pytest.raises(InputError, match="groups"):
        find_experts(random_mixture("deepseek_v2", **groups))
    model = random_mixture("mixtral")
    model.model.layers[1].mlp.gate.weight = torch.nn.Parameter(torch.randn(EXPERTS + 1, 64))
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.experts.*router"):
        find_mixtures(model)
    with pytest.raises(InputError, match=r"layers\.0\.mlp\.experts has 6 experts, .* chooses 7"):
        find_mixtures(random_mixture("olmoe", num_experts_per_tok=EXPERTS + 1))
    with pytest.raises(InputError, match="no experts"):
        find_experts(random_mixture("qwen3_moe", mlp_only_layers=[0, 1, 2]))


def test_a_router_that_chooses_otherwise_among_fewer_experts_is_refused(monkeypatch):
    model = random_mixture("olmoe")
    router = type(model.model.layers[0].mlp.gate)
    plain = router.forward

    def turned(self, states):
        logits, weights, chosen = plain(self, states)
        return logits, weights, (chosen + 1) % len(self.weight)

    monkeypatch.setattr(router, "forward", turned)
    with pytest.raises(InputError, match="router does not choose the same"):
        find_experts(model)
