"""The sensitivity of predictions against the divergence that random changes really make."""

from __future__ import annotations

import math

import pytest
import torch

from evoprune.problems.language_model.calibration import sensitivity as module
from evoprune.problems.language_model.calibration.sensitivity import sensitivity
from evoprune.problems.language_model.gguf.types.matrices import typed_matrices
from evoprune.problems.language_model.models.blocks import find_matrices
from tests.problems.language_model.small import random_model

_SIZE = 0.01  # of a change, as a share of the weights'
_DRAWS = 6


@pytest.fixture
def session(language_model):
    return language_model().session


def predictions(model, tokens):
    return model(tokens).logits.double().log_softmax(-1)


@torch.no_grad()
def test_a_random_change_makes_the_divergence_that_the_factors_tell(session):
    model, tokens = session.resident.model, session.texts.calibration.tokens
    matrices = typed_matrices(session.resident)
    factors, dense = sensitivity(model, tokens, matrices), predictions(model, tokens)
    assert [len(factors[matrix.name]) for matrix in matrices] == [2] + [1] * (len(matrices) - 1)
    offs = []
    for matrix in matrices:
        weight, measured, told = matrix.weight.clone(), 0.0, 0.0
        for _ in range(_DRAWS):
            change = _SIZE * weight.std() * torch.randn_like(weight)
            matrix.weight.copy_(weight + change)
            measured += float((dense.exp() * (dense - predictions(model, tokens))).sum(-1).mean())
            squares = matrix.rows(change).square()
            told += sum(float(outputs @ squares @ inputs) / 2 for outputs, inputs in factors[matrix.name])
        matrix.weight.copy_(weight)
        offs.append(math.log(told / measured))
    assert max(map(abs, offs)) < math.log(3)
    assert abs(sum(offs) / len(offs)) < math.log(1.5)


def test_it_is_the_same_again_and_leaves_the_model_as_it_was(session):
    model, tokens, matrices = session.resident.model, session.texts.calibration.tokens, typed_matrices(session.resident)
    first, again = (sensitivity(model, tokens, matrices) for _ in range(2))
    for name, pairs in first.items():
        flat, its = ([factor for pair in found for factor in pair] for found in (pairs, again[name]))
        assert all(one.equal(other) for one, other in zip(flat, its, strict=True))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_products_that_are_fast_without_units_for_bfloat16_give_the_same(tokens, monkeypatch):
    model, used = random_model("llama").bfloat16(), []
    matrices, backward = find_matrices(model), module._Linear.backward
    monkeypatch.setattr(module._Linear, "backward", lambda *given: used.append(given) or backward(*given))
    fast = module.sensitivity(model, tokens, matrices)
    assert len(used) == len(tokens) * len(matrices)
    monkeypatch.setattr(module, "has_bfloat16_units", lambda: True)
    slow = module.sensitivity(model, tokens, matrices)
    assert len(used) == len(tokens) * len(matrices)
    for name, ((outputs, inputs),) in fast.items():
        ((plain, its),) = slow[name]
        torch.testing.assert_close(outputs, plain, rtol=0.05, atol=0.05 * float(plain.mean()))
        torch.testing.assert_close(inputs, its, rtol=0.05, atol=0.05 * float(its.mean()))
    assert not any("forward" in vars(each) for each in model.modules())
