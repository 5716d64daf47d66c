"""Predictions in 16 bits are compared as those in 32 bits."""

from __future__ import annotations

import errno
import os
from tempfile import TemporaryFile

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from evoprune.problems.language_model.gguf.export.against import PredictionFile


def test_divergences_and_likeliest_tokens_are_those_of_float32():
    pytest.importorskip("llama_cpp_py_sync")
    from evoprune.problems.language_model.gguf.llama import _divergences_from_file

    draw = torch.Generator().manual_seed(0)
    dense = 3 * torch.randn(40, 30_000, generator=draw) + 20
    dense[:, 7] = dense.amax(1)
    dense[:, 9] = dense[:, 7] + 1e-5  # float16 tells logits of 30 apart from 0.02 on
    other = (dense + 0.5 * torch.randn(dense.shape, generator=draw)).log_softmax(-1)
    targets = dense.sort().indices[:, -2]
    with TemporaryFile() as file:
        predictions = PredictionFile(file, len(dense))
        later = predictions.add(dense[25:], targets[25:], 25)
        total = later + predictions.add(dense[:25], targets[:25], 0)
        assert float(total) == pytest.approx(float(cross_entropy(dense, targets, reduction="sum")), rel=1e-6)
        assert torch.allclose(predictions.losses, cross_entropy(dense, targets, reduction="none"))
        rows = [
            _divergences_from_file(file.fileno(), slice(at, at + 20), other[at : at + 20].numpy()) for at in (0, 20)
        ]
    divergences, likeliest = (np.concatenate(each) for each in zip(*rows, strict=True))
    exact = dense.double().log_softmax(-1)
    expected = (exact.exp() * (exact - other.double())).sum(-1)
    assert divergences == pytest.approx(expected.numpy(), abs=1e-4)
    assert divergences.mean() == pytest.approx(float(expected.mean()), abs=1e-5)
    assert (likeliest == 9).all()


def test_a_disk_that_has_no_room_left_is_no_success(monkeypatch):
    monkeypatch.setattr(os, "pwrite", lambda _, data, __: data.nbytes - 1)
    with TemporaryFile() as file, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        PredictionFile(file, 2).add(torch.zeros(2, 3), torch.tensor([0, 1]), 0)
