"""A dense model teaches one with fewer tokens, which reads the same text in more of them."""

import pytest
import torch

from evoprune.problems.language_model.distillation.loss import DenseModel, RetokenisingModel
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.teacher import RecoveryText, Teacher, recovery_text
from evoprune.problems.language_model.models.forward import ids, predictions
from evoprune.problems.language_model.results.final_model import FinalModel
from tests.problems.language_model.odd_texts import ENGLISH, GREEK
from tests.problems.language_model.recoveries import recover_with, stop_at_step_5

pytest.importorskip("evoprune.problems.language_model.vocabulary")

TEXT = {"source": "bundled:python-docs", "window": 64}
GENOME = [3.0]


@pytest.fixture(scope="module")
def session():
    from evoprune.problems.language_model.problem import LanguageModel, LanguageModelSettings

    settings = LanguageModelSettings(
        model="bundled:gpt2-mini",
        dtype="float32",
        device="cpu",
        objective="kl",
        transforms={"use": "vocabulary", "step": 1024},
        held_out_windows=2,
        search_text=TEXT | {"split": "validation", "windows": 4},
        report_text=TEXT | {"split": "test", "windows": 4},
        calibration_text=TEXT | {"split": "train", "windows": 64},
    )
    return LanguageModel(settings).session


@pytest.fixture
def learnt(session):
    """A teacher of a model with fewer tokens, two windows that this reads, and its tokenizer."""
    teacher = Teacher.of(session, GENOME, RecoveryText.of(session.texts.report, 2))
    session.transform.apply(GENOME)
    tokenizer = session.resident.tokenizer
    session.transform.apply(session.transform.dense)
    return teacher.dense, teacher.report.tokens[:2], tokenizer


def every(targets, tokens):
    return targets(slice(0, predictions(tokens)))


def slow(dense, window, tokenizer, source):
    """The probabilities of each token of ``window`` that counts, None inside of the source's tokens."""
    counted = (window >= 0).nonzero().flatten().tolist()
    window = ids(window[: counted[-1] + 1])
    own = source(tokenizer.decode(window))["input_ids"]
    predicted = dense.model(torch.tensor([own])).logits[0].softmax(-1)
    read = [source.decode(own[: end + 1]) for end in range(len(own))]
    firsts = torch.tensor([tokenizer(source.decode(token))["input_ids"][0] for token in range(len(source))])
    for end in filter(None, counted):
        text = tokenizer.decode(window[:end])
        known = text in read
        yield torch.zeros(len(tokenizer)).index_add(0, firsts, predicted[read.index(text)]) if known else None


def test_missing_tokens_count_for_their_first_pieces(session, learnt):
    dense, tokens, tokenizer = learnt
    log_p = every(dense.targets(tokens), tokens)[: predictions(tokens[:1])]
    wanted = list(slow(dense, tokens[0], tokenizer, session.texts.tokenizer))
    assert 0 < sum(each is None for each in wanted) < len(wanted) / 2
    whole = ["\ufffd" not in tokenizer.decode(token) for token in range(len(tokenizer))]  # no parts of characters
    for following, found, each in zip(tokens[0, 1:][tokens[0, 1:] >= 0], log_p.exp(), wanted, strict=True):
        if each is None:
            each = torch.nn.functional.one_hot(following, len(tokenizer)).float()
        torch.testing.assert_close(found[whole], each[whole], rtol=1e-3, atol=1e-5)


def test_with_all_tokens_it_is_the_dense_model(session):
    model, tokenizer, tokens = session.resident.model, session.resident.tokenizer, session.texts.report.tokens
    dense = DenseModel(model)
    whole = RetokenisingModel(model, tokenizer, tokenizer, range(len(tokenizer)))
    read = [torch.tensor([tokenizer(tokenizer.decode(row))["input_ids"]]) for row in tokens]
    for window in read:
        found, wanted = (every(each.targets(window), window) for each in (whole, dense))
        torch.testing.assert_close(found.exp(), wanted.exp(), rtol=1e-3, atol=1e-6)
        assert whole.perplexity(window) == pytest.approx(dense.perplexity(window), rel=1e-5)


@pytest.mark.parametrize("text", [ENGLISH, GREEK, "\U0001f600 and\x00 \u3042\u3044"])
def test_any_text_has_targets(learnt, text):
    dense, _, tokenizer = learnt
    tokens = torch.tensor([tokenizer(text)["input_ids"]])[:, :64]
    log_p = every(dense.targets(tokens), tokens)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(log_p.shape[:-1]))


def test_the_part_of_a_batch_does_not_matter(learnt):
    dense, tokens, _ = learnt
    targets, count = dense.targets(tokens), predictions(tokens)
    parts = [targets(slice(begin, min(count, begin + 17))) for begin in range(0, count, 17)]
    torch.testing.assert_close(torch.cat(parts), every(targets, tokens))


def test_the_text_does_not_depend_on_the_model_that_is_there(session):
    found = recovery_text(RecoverSettings(), session)
    session.transform.apply(GENOME)
    again = recovery_text(RecoverSettings(), session)
    session.transform.apply(session.transform.dense)
    assert torch.equal(again.train, found.train)


def test_a_model_with_fewer_tokens_learns_and_continues_exactly(session, tmp_path, monkeypatch):
    final, settings = FinalModel(session, GENOME), {"train": "norms", "batch": 1, "tokens": 600, "held_out": 2}
    whole = recover_with(final, tmp_path / "whole", **settings)
    before, after = whole.rows["evolved"].decided
    assert after < before
    with monkeypatch.context() as patched:
        stop_at_step_5(patched, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            recover_with(final, tmp_path / "again", **settings)
    again = recover_with(final, tmp_path / "again", **settings)
    assert all(torch.equal(each, whole.weights[name]) for name, each in again.weights.items())
