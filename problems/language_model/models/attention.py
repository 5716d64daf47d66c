"""Causal attention in blocks of queries, three times as fast as PyTorch's kernel in bfloat16 on CPUs without AMX."""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from evoprune.problems.language_model.models.device import has_amx
from evoprune.problems.language_model.models.lazy_weights import execution_device

NAME = "evoprune_blocked"
_QUERIES = 128  # in a block: their scores stay in the cache, and keys after a block are never read
_HARMLESS = {
    "use_cache", "position_ids", "cache_position", "is_causal", "sliding_window", "output_attentions",
    "output_router_logits",
}  # fmt: skip


def use_fast_attention(model: Any, dtype: torch.dtype) -> None:
    """Give ``model``, which computes in ``dtype``, :func:`blocked_attention` if it is faster."""
    wants = dtype == torch.bfloat16 and execution_device(model).type == "cpu" and not has_amx()
    if wants and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def blocked_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Return causal softmax(scale q k^T) v, of the shape of ``query`` ``(batch, heads, tokens, size)``.

    ``key`` and ``value`` may have fewer heads, each shared by as many query heads (grouped-query attention, Ainslie et
    al., EMNLP 2023). Scores and softmax are in float32: some models have scores of hundreds, which bfloat16 rounds to
    whole numbers.
    """
    batch, heads, tokens, size = query.shape
    shared = key.shape[1]
    group = heads // shared
    result = query.new_empty(batch, shared, group, tokens, value.shape[-1])
    future = torch.ones(_QUERIES, _QUERIES, dtype=torch.bool, device=query.device).triu(1)
    exact_keys = key.float()
    for start in range(0, tokens, _QUERIES):
        end = min(tokens, start + _QUERIES)
        rows = end - start
        queries = (query[:, :, start:end].float() * scale).reshape(batch * shared, group * rows, size)
        keys = exact_keys[:, :, :end].reshape(batch * shared, end, size)
        values = value[:, :, :end].reshape(batch * shared, end, value.shape[-1])
        scores = torch.bmm(queries, keys.transpose(1, 2)).view(batch * shared, group, rows, end)
        scores[..., start:].masked_fill_(future[:rows, :rows], -torch.inf)
        weights = scores.softmax(-1).to(value.dtype).view(batch * shared, group * rows, end)
        result[:, :, :, start:end] = torch.bmm(weights, values).view(batch, shared, group, rows, -1)
    return result.view(batch, heads, tokens, -1)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention for transformers; PyTorch's kernel computes everything except plain causal attention."""
    causal = others.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    unknown = {name for name, value in others.items() if value is not None} - _HARMLESS
    if attention_mask is not None or dropout or not causal or unknown or key.shape[2] != query.shape[2]:
        arguments = (query, key, value, attention_mask, dropout, scaling)
        return sdpa_attention_forward(module, *arguments, **others)  # type: ignore[no-any-return]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return blocked_attention(query, key, value, scale).transpose(1, 2), None
