"""Weights that are copied to the device on which their layers run."""

import pytest
import torch
from transformers import masking_utils

from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.lazy_weights import (
    execution_device,
    is_offloaded,
    make_lazy,
    set_execution_device,
    without_offloading,
)
from tests.problems.language_model.small import random_model

HOME, OTHER = torch.device("cpu"), torch.device("meta")  # whose tensors have no values
TOKENS = torch.arange(8)[None]


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_no_operation_of_a_model_mixes_two_devices(architecture, monkeypatch):
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda _: None)  # which needs values
    model = random_model(architecture)
    forward = Forward(model)
    set_execution_device(model, OTHER)
    rows, kept = forward(TOKENS, keep=[1])
    with forward.through(1) as run:
        states = run(TOKENS, kept[1])
    assert {rows.device, states.device, forward.logits(rows).device} == {OTHER}
    assert {weight.device for weight in model.parameters()} == {HOME}


def test_gradients_flow_at_home():
    model = random_model("llama")
    layer = model.get_input_embeddings()
    set_execution_device(model, HOME)

    def double(rows):
        return 2 * layer.weight[rows]

    make_lazy(layer, double)
    before = model(TOKENS).logits
    with without_offloading(model):
        assert not is_offloaded(model)
        make_lazy(layer, lambda rows: 3 * layer.weight[rows])
        model.requires_grad_()
        model(TOKENS).logits.sum().backward()
    assert model.get_output_embeddings().weight.grad.abs().sum() > 0
    assert execution_device(model) == HOME
    assert is_offloaded(model)
    assert not torch.equal(model(TOKENS).logits, before)  # as it was changed at home
    make_lazy(layer, double)
    assert torch.equal(model(TOKENS).logits, before)
