"""Statistics against a slow version: plain hooks, one window at a time, numpy sums."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy
import pytest
import torch

from evoprune.problems.language_model.calibration import gradients
from evoprune.problems.language_model.calibration.statistics import NAMES, damped_inverse, statistics
from evoprune.problems.language_model.models import forward
from evoprune.problems.language_model.models.blocks import find_matrices
from evoprune.problems.language_model.models.device import map_in_threads
from evoprune.problems.language_model.models.forward import Forward
from tests.problems.language_model.small import inputs_of, random_model


@pytest.mark.parametrize("resumable", [True, False])
def test_activations_agree_with_plain_hooks(model, tokens, resumable, monkeypatch):
    if not resumable:
        monkeypatch.setattr(Forward, "_probe", lambda _: (False, False))
    expected = inputs_of(model, tokens)
    found = dict(statistics(model, tokens, find_matrices(model), NAMES))
    assert [matrix.name for matrix in found] == list(expected)
    for matrix, known in found.items():
        rows = expected[matrix.name]
        assert known["input_norms"].numpy() == pytest.approx(numpy.sqrt((rows**2).sum(0)), rel=1e-4)
        gram = rows.T @ rows / len(rows)
        assert numpy.abs(known["gram"].numpy() - gram).max() < 1e-5 * numpy.abs(gram).max()


@pytest.mark.parametrize("blocks", [{1}, {0, 2}])
def test_blocks_without_matrices_are_passed_through(model, tokens, blocks):
    some = [matrix for matrix in find_matrices(model) if matrix.block in blocks]
    expected = inputs_of(model, tokens)
    for matrix, known in statistics(model, tokens, some, {"input_norms"}):
        squares = (expected[matrix.name] ** 2).sum(0)
        assert known["input_norms"].numpy() == pytest.approx(numpy.sqrt(squares), rel=1e-4)


def test_gradients_agree_with_autograd_of_one_window_at_a_time(model, tokens, monkeypatch):
    monkeypatch.setattr(forward, "_LOGITS_AT_ONCE", 1)
    matrices = find_matrices(model)
    weights = [matrix.weight.requires_grad_() for matrix in matrices]
    taken = []
    for window in tokens:
        loss = model(window[None], labels=window[None]).loss
        taken.append([gradient.numpy().astype(float) for gradient in torch.autograd.grad(loss, weights)])
    model.requires_grad_(False)
    found = statistics(model, tokens, matrices, {gradients.SQUARES})
    for (matrix, known), of_windows in zip(found, zip(*taken, strict=True), strict=True):
        squares = matrix.rows(known[gradients.SQUARES]).numpy()
        numpy.testing.assert_allclose(squares, numpy.square(of_windows).mean(0), rtol=1e-3, atol=1e-12)
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


def test_small_gradients_do_not_vanish_in_float16(tokens):
    model = random_model("gpt2")
    model.transformer.ln_f.weight.mul_(1e-5)
    half, single = (
        gradients.gradient_squares(m, tokens[:1], find_matrices(m)) for m in (deepcopy(model).half(), model)
    )
    for name, squares in single.items():
        assert float(half[name].sum()) == pytest.approx(float(squares.sum()), rel=0.1)


def in_disorder(function, works, _=None):
    """As ``map_in_threads``, but each window starts after those that come after it."""
    with ThreadPoolExecutor(len(works), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        started = [pool.submit(function, work) for work in reversed(works)]
        yield from (each.result() for each in started)


@pytest.mark.parametrize("in_threads", [map_in_threads, in_disorder])
def test_gradients_are_the_same_with_any_number_of_threads(tokens, in_threads, monkeypatch):
    monkeypatch.setattr(gradients, "map_in_threads", in_threads)
    model = random_model("gpt2")
    matrices = find_matrices(model)
    one, three = (gathered_by(threads, model, tokens, matrices) for threads in (1, 3))
    assert all(torch.equal(squares, three[name]) for name, squares in one.items())


def gathered_by(threads, *what):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return gradients.gradient_squares(*what)
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_thread_ends_the_others(tokens):
    model = random_model("gpt2")
    tokens = torch.cat([tokens[:1], torch.full_like(tokens[:1], 10**6), tokens[:1]])  # no token of the model
    with pytest.raises(IndexError):
        gathered_by(3, model, tokens, find_matrices(model))


@pytest.fixture
def gram():
    inputs = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return inputs.T @ inputs / 50


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_share_of_the_mean_diagonal_is_added_and_the_gram_matrix_is_left_alone(gram, share):
    before, one = gram.clone(), torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(damped_inverse(gram, share) @ (gram + share * gram.diagonal().mean() * one), one)
    assert torch.equal(gram, before)


def test_dependent_and_dead_inputs_are_damped(gram):
    assert torch.isfinite(damped_inverse(torch.ones(8, 8, dtype=torch.float64), 1e-18)).all()
    gram[3], gram[:, 3] = 0, 0
    assert damped_inverse(gram).diagonal().argmax() == 3


def test_inputs_that_are_not_finite_are_an_error(gram):
    with pytest.raises(RuntimeError, match="not finite"):
        damped_inverse(gram * torch.nan)
