"""The chunked loss and its gradient are those of the whole, in whatever chunks."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from evoprune import InputError
from evoprune.problems.language_model.distillation import loss
from evoprune.problems.language_model.distillation.loss import Student
from evoprune.problems.language_model.distillation.targets import DenseModel
from evoprune.problems.language_model.models import forward
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.results.final_model import FinalModel
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
    found, parts = loss.distillation(rows, heads[0], targets, log_p.__getitem__, weight)
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
        found = loss.divergence(Forward(student), dense, tokens)
        assert found == (pytest.approx(float(slow), rel=1e-4), pytest.approx(lost, rel=1e-5))
    assert torch.equal(torch.cat(read), tokens)
    assert loss.divergence(Forward(teacher), dense, tokens)[0] == pytest.approx(0, abs=1e-6)


def normalised(states):
    centred = states - states.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def states_after_blocks(model, tokens):
    """As transformers returns them, but the last before the final norm."""
    noted = []
    handle = model.transformer.ln_f.register_forward_pre_hook(lambda _, inputs: noted.append(inputs[0]))
    states = model(tokens, output_hidden_states=True).hidden_states
    handle.remove()
    return [*states[1:-1], noted[0]]


def test_the_difference_of_hidden_states_is_that_after_each_block_that_is_left(language_model, tokens):
    session = language_model(transforms={"use": "sublayers", "genes": "block"}).session
    teacher = random_model("gpt2")
    student = FinalModel(session, [0, 1, 0]).copy().model.requires_grad_(True)
    expected, found = copy.deepcopy(student), Student(student, Forward(student), DenseModel(teacher), 0.3, 0.5)
    total, parts = found(tokens)
    total.backward()
    ours, theirs = (states_after_blocks(model, tokens) for model in (expected, teacher))
    differences = [(normalised(ours[block]) - normalised(theirs[block])).square().mean() for block in (0, 2)]
    logits, taught = (model(tokens).logits[:, :-1].flatten(0, 1) for model in (expected, teacher))
    wanted = plain(logits, taught, tokens[:, 1:].flatten(), 0.3) + 0.5 * sum(differences) / 2
    wanted.backward()
    torch.testing.assert_close(total, wanted)
    torch.testing.assert_close(parts[2], sum(differences) / 2)
    gradients = {name: each.grad for name, each in expected.named_parameters() if "h." in name}
    assert gradients
    for name, each in student.named_parameters():
        if name in gradients:
            torch.testing.assert_close(each.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_blocks_that_cannot_be_matched_are_refused():
    with pytest.raises(InputError, match="the model has 2 blocks and its dense model 3"):
        Student(None, Forward(random_model("gpt2", blocks=2)), DenseModel(random_model("gpt2")), 0.3, 0.5)
