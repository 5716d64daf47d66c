"""Trained scales, against plain multiplication that PyTorch derives in float64."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from evoprune.problems.language_model.gguf.encoded import GgmlMatrix
from evoprune.problems.language_model.models.blocks import Matrix, find_matrices

pytest.importorskip("llama_cpp_py_sync")
from evoprune.problems.language_model.distillation import trainable_parameters
from evoprune.problems.language_model.distillation.teacher import compensate
from evoprune.problems.language_model.distillation.trainable_parameters import (
    merge_scales,
    parametrise_scales,
    recompute_weights,
)
from evoprune.problems.language_model.gguf import ggml
from tests.problems.language_model.small import IN_MEMORY, random_model

INPUTS, OUTPUTS = 256, 24


@pytest.fixture(
    params=[("Q4_0", "linear"), ("Q4_1", "linear"), ("Q4_K", "conv"), ("IQ3_S", "linear"), ("Q2_K", "conv")]
)
def quantised(request):
    """A layer and its matrix in a type."""
    torch.manual_seed(0)
    kind, form = request.param
    layer = torch.nn.Linear(INPUTS, OUTPUTS) if form == "linear" else Conv1D(OUTPUTS, INPUTS)
    matrix = Matrix("layer", 0, "layer", layer)
    rows = matrix.rows(matrix.weight.detach()).contiguous().numpy()
    encoded = GgmlMatrix(kind, ggml.quantize(rows, kind, np.ones(INPUTS, dtype=np.float32)))
    encoded.put_into(matrix)
    return matrix, encoded


def change_of(matrix):
    return matrix.module.parametrizations.weight.original


def test_it_begins_with_the_values_of_the_type(quantised):
    matrix, encoded = quantised
    before = matrix.weight.detach().clone()
    parametrise_scales(matrix, encoded)
    assert torch.equal(matrix.weight, before)
    assert np.array_equal(merge_scales(matrix, IN_MEMORY, torch.float32).data, encoded.data)


def test_the_gradient_is_that_of_plain_multiplication(quantised):
    matrix, encoded = quantised
    inputs = torch.randn(8, INPUTS)
    parametrise_scales(matrix, encoded)
    matrix.module(inputs).square().sum().backward()

    before = torch.from_numpy(encoded.scales).double()
    change = torch.zeros_like(before, requires_grad=True)
    codes = [torch.from_numpy(own).double() / unit for own, unit in encoded.codes(INPUTS)]
    block = INPUTS // before.shape[2]
    rows = sum((scale * (1 + own)).repeat_interleave(block, 1) * code
               for scale, own, code in zip(before, change, codes, strict=True))  # fmt: skip
    outputs = inputs.double() @ rows.T + matrix.module.bias.double()
    outputs.square().sum().backward()
    torch.testing.assert_close(change_of(matrix).grad, change.grad.float(), rtol=1e-4, atol=1e-3)


def test_weights_in_16_bits_have_the_gradient_of_autocast(quantised):
    matrix, encoded = quantised
    gradients, inputs = [], torch.randn(8, INPUTS)
    for products in (torch.float32, torch.bfloat16):
        own = copy.deepcopy(matrix)
        parametrise_scales(own, encoded, products)
        with torch.autocast("cpu", torch.bfloat16):
            own.module(inputs).square().sum().backward()
        gradients.append(change_of(own).grad)
    assert torch.equal(*gradients)


def test_weights_are_made_again_for_the_backward_pass_with_the_same_gradients(quantised):
    matrix, encoded = quantised
    parametrise_scales(matrix, encoded, torch.bfloat16)
    inputs, change, found = torch.randn(8, INPUTS, requires_grad=True), change_of(matrix), []
    for context in (nullcontext(), recompute_weights()):
        with torch.autocast("cpu", torch.bfloat16), context:
            loss = matrix.module(inputs).square().sum()
        found.append((len(trainable_parameters._makers), *torch.autograd.grad(loss, [change, inputs])))
    (kept, *expected), (left, *gradients) = found
    assert (kept, left) == (1, 0)
    assert all(map(torch.equal, gradients, expected))


@pytest.mark.parametrize(
    ("resident", "products"), [(True, torch.float32), (False, torch.float32), (True, torch.bfloat16)]
)
def test_the_bytes_stand_for_the_weights_that_were_trained(quantised, resident, products):
    matrix, encoded = quantised
    parametrise_scales(matrix, encoded, products)
    change_of(matrix).data.uniform_(-0.1, 0.1)
    trained = matrix.weight.detach().clone()
    found = merge_scales(matrix, replace(IN_MEMORY, resident=resident), torch.float32)
    assert type(matrix.module) in {torch.nn.Linear, Conv1D}
    assert torch.equal(matrix.weight.to(products), trained)
    trained = matrix.weight
    values = torch.from_numpy(ggml.dequantize(found.data, found.kind, INPUTS))
    assert torch.equal(matrix.rows(trained), values)


def test_codes_of_matrices_that_lost_nothing_stay(tokens):
    dense = random_model("gpt2")
    exact, rounded = find_matrices(dense)[:2]
    encoded = {}
    for matrix in (exact, rounded):
        rows = matrix.rows(matrix.weight).contiguous().numpy()
        encoded[matrix.parameter] = GgmlMatrix("Q4_0", ggml.quantize(rows, "Q4_0", np.ones(rows.shape[1], np.float32)))
    encoded[exact.parameter].put_into(exact)
    student = copy.deepcopy(dense)
    alone = {exact.parameter: encoded[exact.parameter]}
    assert compensate(dense, alone, tokens, lambda _: 0.0, student, 1.0) is alone
    encoded[rounded.parameter].put_into(find_matrices(student)[1])
    found = compensate(dense, encoded, tokens, lambda _: 0.0, student, 1.0)
    assert found[exact.parameter] is encoded[exact.parameter]
    assert not np.array_equal(found[rounded.parameter].data, encoded[rounded.parameter].data)
