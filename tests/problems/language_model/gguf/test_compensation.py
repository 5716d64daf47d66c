"""Rounding that makes up for its errors, against plain rounding."""

from __future__ import annotations

import numpy
import pytest
import torch

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp_py_sync")

from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.encoded import GgmlMatrix

KINDS = ("Q4_0", "IQ4_NL", "Q5_1", "Q3_K", "Q2_0")


def matrix_and_gram(correlated):
    draws = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(24, 512, generator=draws), torch.randn(2000, 512, generator=draws)
    if correlated:
        inputs = inputs @ torch.randn(512, 512, generator=draws) / 16 + inputs
    gram = inputs.T @ inputs / len(inputs)
    return weight, gram if correlated else torch.diag(gram.diagonal())


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_nearer_than_with_plain_rounding(kind):
    weight, gram = matrix_and_gram(correlated=True)
    plain = ggml.quantize(weight.numpy(), kind, gram.diagonal().numpy())

    def error(data):
        off = (torch.from_numpy(ggml.dequantize(data, kind, 512)) - weight).double()
        return float((off @ gram.double() * off).sum())

    assert error(GgmlMatrix(kind, plain).compensated(weight, gram).data) < 0.9 * error(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_without_correlation_have_nothing_to_make_up_for(kind):
    weight, gram = matrix_and_gram(correlated=False)
    parts = [
        ggml.quantize(weight[:, first : first + ggml.block_size(kind)].numpy(), kind, own.numpy())
        for first, own in zip(
            range(0, 512, ggml.block_size(kind)), gram.diagonal().split(ggml.block_size(kind)), strict=True
        )
    ]
    plain = numpy.concatenate(parts, axis=1)
    assert numpy.array_equal(GgmlMatrix(kind, plain).compensated(weight, gram).data, plain)
