import torch

from problems.language_model.model.device import pick_dtype


def test_a_pytorch_that_does_not_tell_of_the_processor_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
