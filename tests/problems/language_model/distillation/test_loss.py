"""The chunked loss and its gradient are those of the whole, in whatever chunks."""

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from evoprune.problems.language_model.distillation import loss
from evoprune.problems.language_model.distillation.loss import DenseModel, ExactDivergence
from evoprune.problems.language_model.models import forward
from evoprune.problems.language_model.models.forward import Forward
from tests.problems.language_model.small import VOCABULARY, plain_perplexity, random_model

ROWS, WIDTH = 21, 16


@pytest.fixture(params=[VOCABULARY, 5 * VOCABULARY, 2**24])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(forward, "_LOGITS_AT_ONCE", request.param)


def plain(logits, taught, targets, weight):
    divergence = kl_div(logits.log_softmax(-1), taught.log_softmax(-1), log_target=True, reduction="batchmean")
    return divergence + weight * cross_entropy(logits, targets)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("headless", [True, False])
def test_it_is_the_plain_loss(weight, headless):
    torch.manual_seed(0)
    heads = [None if headless else torch.nn.Linear(WIDTH, VOCABULARY).requires_grad_(False) for _ in range(2)]
    width = VOCABULARY if headless else WIDTH
    rows, taught = torch.randn(ROWS, width, requires_grad=True), torch.randn(ROWS, width)
    targets = torch.randint(VOCABULARY, (ROWS,))
    log_p = (taught if headless else heads[1](taught)).log_softmax(-1)
    found, parts = loss.Distillation.apply(rows, heads[0], targets, log_p.__getitem__, weight)
    (2 * found).backward()
    gradient, rows.grad = rows.grad, None
    logits = [rows, taught] if headless else [heads[0](rows), heads[1](taught)]
    wanted = plain(*logits, targets, weight)
    (2 * wanted).backward()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(parts[1], cross_entropy(logits[0], targets))
    torch.testing.assert_close(gradient, rows.grad)


@pytest.mark.usefixtures("_chunks")
def test_divergence_is_that_of_all_logits_and_the_teacher_runs_once(tokens, monkeypatch):
    student, teacher = random_model("gpt2"), random_model("gpt2", seed=1)
    log_q, log_p = (m(tokens).logits[:, :-1].log_softmax(-1) for m in (student, teacher))
    slow = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    dense, lost, read = DenseModel(teacher), plain_perplexity(student, tokens), []
    targets = dense.targets
    monkeypatch.setattr(dense, "targets", lambda window: (read.append(window), targets(window))[1])
    for _ in range(2):
        found = loss.divergence(Forward(student), tokens, ExactDivergence(dense, tokens))
        assert found == (pytest.approx(float(slow), rel=1e-4), pytest.approx(lost, rel=1e-5))
    assert torch.equal(torch.cat(read), tokens)
    alike, _ = loss.divergence(Forward(teacher), tokens, ExactDivergence(dense, tokens))
    assert alike == pytest.approx(0, abs=1e-6)
