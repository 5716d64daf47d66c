import math

import pytest
import torch

from evoprune.problems.language_model.models import attention
from evoprune.problems.language_model.models.attention import blocked_attention, use_fast_attention
from evoprune.problems.language_model.models.forward import Forward
from tests.problems.language_model.mixtures import random_mixture


def plain_attention(query, key, value, scale):
    """Head by head and token by token."""
    batch, heads, tokens, _ = query.shape
    result = torch.empty(batch, heads, tokens, value.shape[-1])
    for b in range(batch):
        for h in range(heads):
            shared = h * key.shape[1] // heads
            for t in range(tokens):
                scores = scale * (key[b, shared, : t + 1] @ query[b, h, t])
                result[b, h, t] = scores.softmax(0) @ value[b, shared, : t + 1]
    return result


@pytest.mark.parametrize("tokens", [1, 127, 128, 300])
@pytest.mark.parametrize("shared", [6, 2, 1])
def test_agrees_with_attention_token_by_token(tokens, shared):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 6, tokens, 16, generator=generator)
    key, value = (torch.randn(2, shared, tokens, 16, generator=generator) for _ in range(2))
    found = blocked_attention(query, key, value, 0.3)
    torch.testing.assert_close(found, plain_attention(query, key, value, 0.3), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_as_near_as_bfloat16_allows():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 4, 200, 32, generator=generator).bfloat16() for _ in range(3))
    found = blocked_attention(query, key, value, 1 / math.sqrt(32))
    exact = plain_attention(query.float(), key.float(), value.float(), 1 / math.sqrt(32))
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.02)


def test_large_scores_that_differ_little_are_told_apart_in_bfloat16():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, 150, 32, generator=generator).bfloat16() for _ in range(3))
    query[..., 0], key[..., 0] = 64, 64  # as biases of Qwen2.5 do: scores of about 724, where bfloat16 has steps of 4
    found = blocked_attention(query, key, value, 1 / math.sqrt(32))
    exact = plain_attention(query.float(), key.float(), value.float(), 1 / math.sqrt(32))
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("layout", ["qwen3_moe", "mixtral"])
def test_the_head_of_a_mixture_is_found_plain_beside_it(layout, monkeypatch):
    monkeypatch.setattr(attention, "has_amx", lambda: False)
    model = random_mixture(layout).to(torch.bfloat16)
    use_fast_attention(model, torch.bfloat16)
    assert model.config._attn_implementation == attention.NAME
    assert Forward(model).head is not None
