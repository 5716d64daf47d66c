"""Statistics against a slow version: plain hooks, one window at a time, numpy sums."""

from functools import partial

import numpy
import pytest
import torch

from problems.pruning.model.blocks import find_matrices
from problems.pruning.model.forward import Forward
from problems.pruning.statistics import activations, gradients
from problems.pruning.statistics.calibration import statistics
from tests.problems.pruning.conftest import random_model


def inputs_of(model, tokens):
    """Each matrix's inputs ``(tokens, in)``, float64."""
    noted = {matrix.name: [] for matrix in find_matrices(model)}
    handles = [
        matrix.module.register_forward_hook(
            lambda _, inputs, __, name=matrix.name: noted[name].append(inputs[0].reshape(-1, inputs[0].shape[-1]))
        )
        for matrix in find_matrices(model)
    ]
    for window in tokens:
        model(window[None])
    for handle in handles:
        handle.remove()
    return {name: numpy.concatenate([rows.numpy() for rows in found]).astype(float) for name, found in noted.items()}


@pytest.mark.parametrize("resumable", [True, False])
def test_activations_agree_with_plain_hooks(model, tokens, resumable, monkeypatch):
    if not resumable:
        monkeypatch.setattr(Forward, "_resumes_exactly", lambda _: False)
    expected = inputs_of(model, tokens)
    found = dict(statistics(model, tokens, find_matrices(model), activations.NAMES))
    assert [matrix.name for matrix in found] == list(expected)
    for matrix, known in found.items():
        rows = expected[matrix.name]
        assert known["input_norms"].numpy() == pytest.approx(numpy.sqrt((rows**2).sum(0)), rel=1e-4)
        gram = rows.T @ rows / len(rows)
        assert numpy.abs(known["gram"].numpy() - gram).max() < 1e-5 * numpy.abs(gram).max()


def test_gradients_agree_with_autograd_of_one_window_at_a_time(model, tokens):
    matrices = find_matrices(model)
    weights = [matrix.weight.requires_grad_() for matrix in matrices]
    taken = []
    for window in tokens:
        loss = model(window[None], labels=window[None]).loss
        taken.append([gradient.numpy().astype(float) for gradient in torch.autograd.grad(loss, weights)])
    model.requires_grad_(False)
    found = statistics(model, tokens, matrices, gradients.NAMES)
    for (matrix, known), of_windows in zip(found, zip(*taken, strict=True), strict=True):
        assert matrix.rows(known["gradient_sizes"]).numpy() == pytest.approx(
            numpy.abs(of_windows).mean(0), rel=1e-3, abs=1e-8
        )
        assert matrix.rows(known["gradient_squares"]).numpy() == pytest.approx(
            numpy.square(of_windows).mean(0), rel=1e-3, abs=1e-12
        )
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


def test_only_what_is_asked_for_is_gathered(model, tokens):
    matrices = find_matrices(model)
    for names in (set(), {"input_norms"}, {"gram", "gradient_squares"}):
        assert all(set(known) == names for _, known in statistics(model, tokens, matrices, names))


def test_compiled_blocks_are_looked_into_too(tokens, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # needs no compiler
    model = random_model("gpt2", blocks=1)
    expected = [known for _, known in statistics(model, tokens, find_matrices(model), activations.NAMES)]
    forward = Forward(model)
    forward.compile()
    forward(tokens)
    found = statistics(model, tokens, find_matrices(model), activations.NAMES)
    for (_, known), before in zip(found, expected, strict=True):
        assert known.keys() == before.keys()
        for name, value in known.items():
            torch.testing.assert_close(value, before[name])
