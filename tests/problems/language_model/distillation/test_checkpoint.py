"""Checkpoints are read back as they were written, or they are not there."""

import errno

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.distillation.checkpoint import Checkpoints
from tests.runs import no_file_above


def test_the_last_is_read_back_and_the_only_one(tmp_path):
    kept = Checkpoints(tmp_path / "here")
    assert kept.read() is None
    for step in (2, 10):
        kept.write({"step": step}, {"weight": torch.full((2, 3), step / 3, dtype=torch.bfloat16)})
    state, tensors = Checkpoints(tmp_path / "here").read()
    assert state == {"step": 10}
    assert tensors["weight"].equal(torch.full((2, 3), 10 / 3, dtype=torch.bfloat16))
    (path,) = (tmp_path / "here").iterdir()
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(InputError, match=path.name):
        kept.read()


def test_a_full_disk_is_an_error_of_the_system_and_leaves_what_was_there(tmp_path):
    kept = Checkpoints(tmp_path)
    kept.write_best({"a": torch.ones(2)})
    with no_file_above(1000), pytest.raises(OSError, match="File too large") as caught:
        kept.write_best({"a": torch.zeros(1000)})
    assert caught.value.errno == errno.EFBIG
    assert kept.best()["a"].equal(torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1
