"""Small random mixtures of experts of each layout, and a slow version of one without some experts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    GptOssConfig,
    MixtralConfig,
    OlmoeConfig,
    Qwen3MoeConfig,
)

from tests.problems.language_model.small import _ENDS, VOCABULARY, save, settings_in

EXPERTS, ACTIVE = 6, 2
_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64, "num_experts_per_tok": ACTIVE, **_ENDS,
}  # fmt: skip
_CONFIGS: Mapping[str, Callable[..., Any]] = {
    "olmoe": lambda **own: OlmoeConfig(num_experts=EXPERTS, intermediate_size=32, **own),
    "qwen3_moe": lambda **own: Qwen3MoeConfig(
        num_experts=EXPERTS, intermediate_size=96, moe_intermediate_size=32, head_dim=16, norm_topk_prob=True, **own
    ),
    "mixtral": lambda **own: MixtralConfig(num_local_experts=EXPERTS, intermediate_size=32, **own),
    "gpt_oss": lambda **own: GptOssConfig(num_local_experts=EXPERTS, intermediate_size=32, head_dim=16, **own),
    "deepseek_v2": lambda **own: DeepseekV2Config(
        n_routed_experts=EXPERTS, intermediate_size=96, moe_intermediate_size=32, n_shared_experts=1,
        first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=16,
        v_head_dim=16, **(own | {"num_key_value_heads": 4}),
    ),
}  # fmt: skip
LAYOUTS = tuple(_CONFIGS)


def random_mixture(name: str, blocks: int = 3, **own: Any) -> Any:
    """A mixture of :data:`EXPERTS` experts in each block (DeepSeek's first has none), of random weights."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(_CONFIGS[name](num_hidden_layers=blocks, **(_SIZES | own)))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 or not parameter.any():
                parameter.normal_(std=0.1)
    return model.float().eval().requires_grad_(False)


def mixture_in(home: Path, name: str, **own: Any) -> dict[str, Any]:
    """What every problem on a small mixture is told; its texts are random words."""
    generator = torch.Generator().manual_seed(3)
    for file in ("search.txt", "report.txt"):
        words = torch.randint(1, VOCABULARY - 1, (1024,), generator=generator).tolist()
        (home / file).write_text(" ".join(f"w{word}" for word in words))
    return settings_in(home, save(random_mixture(name, **own), home / "model"))


@contextmanager
def masked(model: Any, kept: Mapping[int, Sequence[int]]) -> Iterator[None]:
    """Let ``model``, whole, never choose other experts than those ``kept``, by block: their logits are -inf."""
    routers: dict[int, list[int]] = {}
    for block, layer in enumerate(model.model.layers):
        for module_name, module in layer.named_modules():
            if module_name.endswith(("gate", "router")) and getattr(module, "weight", torch.empty(0)).shape[:1] == (
                EXPERTS,
            ):
                routers[id(module.weight)] = [number for number in range(EXPERTS) if number not in kept[block]]
    plain = functional.linear

    def linear(given: Any, weight: Any, *bias: Any, **named: Any) -> Any:
        output = plain(given, weight, *bias, **named)
        return output.index_fill(-1, torch.tensor(routers[id(weight)]), -torch.inf) if id(weight) in routers else output

    with patch.object(functional, "linear", linear):
        yield


def routed(model: Any, tokens: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any]]:
    """For each block the inputs of its experts, the chosen ones, their weights, and the module of the mixture."""
    noted: list[Any] = []
    handles = [
        layer.mlp.experts.register_forward_pre_hook(lambda _, given, home=layer.mlp: noted.append((*given, home)))
        for layer in model.model.layers
    ]
    model(tokens)
    for handle in handles:
        handle.remove()
    return noted
