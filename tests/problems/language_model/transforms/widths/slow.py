"""Units told apart by hand, architecture by architecture, and models with zeros in their place."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import GemmaConfig, GemmaForCausalLM

from evoprune import Additive
from evoprune.problems.language_model.models.blocks import find_blocks
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.transforms.widths.cuts import Channels, Heads
from tests.problems.language_model.small import ARCHITECTURES, VOCABULARY, random_model

CUTS = {"channels": Channels, "heads": Heads}
ALL = (*ARCHITECTURES, "gemma")


def model_of(architecture: str) -> Any:
    """A small random model; that of Gemma has one head of keys and values for two query heads of an odd size."""
    if architecture != "gemma":
        return random_model(architecture)
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return GemmaForCausalLM(config).eval().requires_grad_(False)


def cut_of(architecture: str, cut: str, **settings: Any) -> Any:
    """The transform ``channels`` or ``heads`` of a small model, which needs no text; units are in a random order."""
    kind = CUTS[cut]
    made = kind(Resident(model_of(architecture), None, ""), kind.Settings(**settings), None)
    torch.manual_seed(0)
    made.order._stored = {name: torch.randperm(len(units)) for name, units in made.order._stored.items()}
    return made


def budget_of(transform: Any, unit: str) -> Additive:
    """The cost of genomes of ``transform`` in ``unit``, without a limit."""
    prices, fixed = transform.prices(unit)
    return Additive(transform.genes, prices, None, unit, fixed)


def middle(transform: Any) -> list[float]:
    """A genome with another level in each block, and never the last."""
    return [float(1 + block % (len(gene.levels) - 2)) for block, gene in enumerate(transform.genes)]


_CHANNELS = {
    "gpt2": (["mlp.c_fc"], "mlp.c_proj"),
    "llama": (["mlp.gate_proj", "mlp.up_proj"], "mlp.down_proj"),
    "gemma": (["mlp.gate_proj", "mlp.up_proj"], "mlp.down_proj"),
    "opt": (["fc1"], "fc2"),
    "gpt_neox": (["mlp.dense_h_to_4h"], "mlp.dense_4h_to_h"),
}
# layers, lines of a head in each, first line; the last layer is the output
_HEADS = {
    "gpt2": [("attn.c_attn", 16, 0), ("attn.c_attn", 16, 64), ("attn.c_attn", 16, 128), ("attn.c_proj", 16, 0)],
    "gpt_neox": [("attention.query_key_value", 48, 0), ("attention.dense", 16, 0)],
    "opt": [(f"self_attn.{name}_proj", 16, 0) for name in ("q", "k", "v", "out")],
    "llama": [(f"self_attn.{name}_proj", size, 0) for name, size in zip("qkvo", (32, 16, 16, 32), strict=True)],
    "gemma": [(f"self_attn.{name}_proj", size, 0) for name, size in zip("qkvo", (48, 24, 24, 48), strict=True)],
}


def parts_of(architecture: str, cut: str, unit: int) -> list[tuple[str, str, range]]:
    """The layers that hold ``unit``, whether they hold it in rows or in columns, and which."""
    if cut == "channels":
        inputs, output = _CHANNELS[architecture]
        layers = [(name, 1, 0) for name in (*inputs, output)]
    else:
        layers = _HEADS[architecture]
    places = [(name, range(start + unit * size, start + (unit + 1) * size)) for name, size, start in layers]
    return [*((name, "rows", at) for name, at in places[:-1]), (places[-1][0], "columns", places[-1][1])]


def _lines(block: Any, name: str, axis: str) -> torch.Tensor:
    """The weight, with the rows or columns first; a view."""
    layer = block.get_submodule(name)
    weight = layer.weight.T if type(layer).__name__ == "Conv1D" else layer.weight
    return weight if axis == "rows" else weight.T


def masked(model: Any, architecture: str, cut: str, kept: list[list[int]]) -> Any:
    """A copy in which all units of each block but the ``kept`` ones are zero."""
    model = copy.deepcopy(model)
    for block, own in zip(find_blocks(model)[1], kept, strict=True):
        name, axis, at = parts_of(architecture, cut, 0)[-1]
        for unit in {*range(len(_lines(block, name, axis)) // len(at))} - {*own}:
            for name, axis, at in parts_of(architecture, cut, unit):
                _lines(block, name, axis)[list(at)] = 0.0
    return model
