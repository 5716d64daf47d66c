import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.models.device import pick_device, pick_dtype


def test_a_pytorch_that_does_not_tell_of_the_processor_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.bfloat16


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    with pytest.raises(InputError, match="cuda:7"):
        pick_device("cuda:7")
