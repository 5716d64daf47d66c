"""A recovery never reads what a search or a report read."""

from pathlib import Path

import pytest
import torch

from evoprune import InputError
from problems.distillation.settings import RecoverSettings
from problems.distillation.text import recovery_text, refuse_report


@pytest.fixture
def text_of(session):
    def call(**settings):
        given = RecoverSettings(**{"held_out": 3} | settings)
        texts = session.texts
        found = recovery_text(given, session)
        refuse_report(found, texts.report)
        return found

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


def test_the_report_text_is_refused_also_as_a_copy(text_of, small, tmp_path):
    report = Path(small["report_text"]["source"])
    with pytest.raises(InputError, match="is the report text"):
        text_of(text=str(report))
    copy = tmp_path / "copy.txt"
    copy.write_text("w1 w2 w3 " + report.read_text())
    words = report.read_text().split()[40:80]  # no whole window of either
    copy.write_text(" ".join(words + [f"w{number * 7 % 100}" for number in range(32 * 20)]))
    with pytest.raises(InputError, match=r"holds 31[.]2% of the report text"):
        text_of(text=str(copy), window=48)


def test_a_text_that_is_too_short_says_so(text_of, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text(" ".join(f"w{number % 100}" for number in torch.arange(32 * 6)))
    with pytest.raises(InputError, match="leaves 6 windows of 32 tokens; expected 3 that are held out and at least 4"):
        text_of(text=str(short))
