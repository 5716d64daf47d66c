"""Checkpoints are read back as they were written, and the newest is the only one."""

import errno
import resource

import pytest
import torch

from problems.distillation.checkpoint import Checkpoints
from problems.models.tensor_file import read_checked, replace_file


def test_the_newest_is_read_back(tmp_path):
    kept = Checkpoints(tmp_path / "here")
    assert kept.read() is None
    for step in (2, 10):
        kept.write(step, {"step": step}, {"weight": torch.full((2, 3), step / 3, dtype=torch.bfloat16)})
    state, tensors = Checkpoints(tmp_path / "here").read()
    assert state == {"step": 10}
    assert tensors["weight"].equal(torch.full((2, 3), 10 / 3, dtype=torch.bfloat16))
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["step-10"]


def test_a_half_written_one_is_not_read(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.write(1, {"step": 1}, {"a": torch.ones(2)})
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "tensors.safetensors").write_bytes(b"half")
    assert kept.read()[0] == {"step": 1}
    kept.write(2, {"step": 2}, {"a": torch.ones(2)})
    assert kept.read()[0] == {"step": 2}


def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    path = tmp_path / "weights.safetensors"
    replace_file(path, {"a": torch.ones(2)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            replace_file(path, {"a": torch.zeros(1000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert read_checked(path)["a"].equal(torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]
