import pytest
import torch
from transformers import AutoModelForCausalLM

from problems.models.blocks import find_matrices
from problems.models.forward import Forward
from problems.models.load import copy_of, load_model
from problems.models.settings import ModelSettings
from tests.problems.small import random_model, save


@pytest.fixture
def loaded(tmp_path):
    """A Llama model in bfloat16."""
    folder = save(random_model("llama"), tmp_path)
    return load_model(ModelSettings(model=folder, dtype="bfloat16", device="cpu"))[0]


def test_bfloat16_rounds_the_weights_but_not_the_rotary_frequencies(loaded, tmp_path):
    """As transformers does when it loads in bfloat16 itself."""
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    buffers = dict(theirs.named_buffers())
    assert buffers
    for name, buffer in loaded.named_buffers():
        assert buffer.dtype == torch.float32
        assert torch.equal(buffer, buffers[name])


def test_a_copy_has_the_same_weights_and_rotary_frequencies_in_memory_of_its_own(loaded):
    copied = copy_of(loaded, torch.bfloat16)
    for tensors in ("named_parameters", "named_buffers"):
        own, others = dict(getattr(copied, tensors)()), dict(getattr(loaded, tensors)())
        assert own.keys() == others.keys()
        for name, tensor in own.items():
            assert tensor.dtype == others[name].dtype
            assert torch.equal(tensor, others[name])
            assert tensor.data_ptr() != others[name].data_ptr()


def test_a_copy_of_a_compiled_model_computes_with_its_own_weights(loaded, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: lambda *given, **named: function(*given, **named))
    Forward(loaded).compile()
    tokens = torch.arange(8)[None]
    before = loaded(input_ids=tokens).logits
    copied = copy_of(loaded, torch.bfloat16)
    for matrix in find_matrices(copied):
        matrix.weight.data.zero_()
    assert not torch.equal(copied(input_ids=tokens).logits, before)
    assert torch.equal(loaded(input_ids=tokens).logits, before)
