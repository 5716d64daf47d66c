import pytest
import torch
from safetensors.torch import save_file

from evoprune import InputError
from problems.pruning.export.compact import FORMAT, load_compact, save_compact


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
def test_what_is_written_is_read(dtype, zeros, tmp_path):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 13, generator=generator).to(dtype)
    weight[torch.rand(7, 13, generator=generator) < zeros] = 0
    tensors = {"a": weight, "b": torch.arange(3.0), "one": torch.zeros(1, 1)}
    save_compact(tensors, {"a", "one"}, tmp_path / "x")
    read = load_compact(tmp_path / "x")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


BITS = torch.tensor([0b11000000], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("tensors", "metadata", "fragment"),
    [
        ({}, {}, "no compact copy"),
        ({}, {"format": FORMAT}, "states no shapes"),
        ({}, {"format": FORMAT, "shapes": "[1]"}, "states no shapes"),
        ({}, {"format": FORMAT, "shapes": '{"a": [-8]}'}, "states no shapes"),
        ({}, {"format": FORMAT, "shapes": '{"a": [8]}'}, "lacks its bits"),
        ({"a.bits": BITS, "a.values": torch.ones(2)}, {"format": FORMAT, "shapes": '{"a": [9]}'}, "one bit for each"),
        ({"a.bits": BITS, "a.values": torch.ones(3)}, {"format": FORMAT, "shapes": '{"a": [8]}'}, "3 values for 2"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(tensors, metadata, fragment, tmp_path):
    save_file(tensors or {"x": torch.ones(1)}, tmp_path / "x", metadata=metadata)
    with pytest.raises(InputError, match=fragment):
        load_compact(tmp_path / "x")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="safetensors"):
        load_compact(tmp_path / "x")
