"""A recovery never reads windows of a search, or passages of a report."""

from pathlib import Path

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.distillation.settings import RecoverSettings
from evoprune.problems.language_model.distillation.teacher import recovery_text
from evoprune.problems.language_model.texts.text_splits import PASSAGE


@pytest.fixture
def text_of(session):
    def call(**settings):
        given = RecoverSettings(**{"held_out": 3} | settings)
        return recovery_text(given, session)

    return call


def rows(*tensors):
    return {tuple(row) for tensor in tensors for row in tensor.tolist()}


@pytest.mark.parametrize("window", [16, 32])
def test_windows_are_apart_from_each_other_and_from_the_search(text_of, session, window):
    found, searched = text_of(window=window), session.texts.search.tokens
    assert found.train.shape[1] == window
    assert len(found.held_out) == 3
    assert not rows(found.train) & rows(found.held_out)
    assert not rows(found.train, found.held_out) & rows(searched.reshape(-1, window))
    assert len(found.train) + 3 == (32 * 32 - searched.numel()) // window


def test_passages_of_the_report_text_are_not_trained_on(text_of, small, session, tmp_path, capsys):
    report = Path(small["report_text"]["source"])
    with pytest.raises(InputError, match="is the report text"):
        text_of(text=str(report))
    words = report.read_text().split()
    own = [f"w{number * 7 % 100}" for number in range(40 * 20)]
    copy = tmp_path / "copy.txt"
    copy.write_text(" ".join([*own[:50], *words[40:80], *own[50:]]))  # across windows 1 and 2, in no whole one
    found, ids = text_of(text=str(copy), window=40), session.texts.tokenizer.convert_tokens_to_ids(words)
    assert len(found.whole.tokens) == 19
    assert 1 not in found.whole.places
    assert 2 not in found.whole.places
    assert not {tuple(ids[at : at + PASSAGE]) for at in range(len(ids) - PASSAGE)} & {
        tuple(row[at : at + PASSAGE]) for row in found.whole.tokens.tolist() for at in range(40 - PASSAGE + 1)
    }
    assert "2 windows" in capsys.readouterr().err
    copy.write_text("w1 w2 w3 " + session.texts.tokenizer.decode(session.texts.report.text.flatten()))
    with pytest.raises(InputError, match="leaves 0 windows"):
        text_of(text=str(copy))


def test_a_text_that_is_too_short_says_so(text_of, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text(" ".join(f"w{number % 100}" for number in torch.arange(32 * 6)))
    with pytest.raises(InputError, match="leaves 6 windows of 32 tokens; expected 3 that are held out and at least 4"):
        text_of(text=str(short))
