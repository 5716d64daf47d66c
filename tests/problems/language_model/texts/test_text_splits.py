"""The texts of a run in their roles, on a model with 64 positions; passages that texts share."""

from pathlib import Path

import pytest
import torch

from evoprune import InputError
from evoprune.problems.language_model.evaluation import EvaluationSettings
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.text_splits import PASSAGE, Texts, share_in_common
from evoprune.problems.language_model.texts.windows import Windows
from tests.problems.language_model.small import problem_in


@pytest.fixture(scope="module", params=[False, True])
def told(request, tmp_path_factory):
    """The tokenizer puts a token before each text, or not."""
    return problem_in(tmp_path_factory.mktemp("texts"), begin=request.param)


@pytest.fixture(scope="module")
def resident(told):
    return Resident.load(EvaluationSettings(**told))


@pytest.fixture
def texts(told, resident):
    """Makes the texts of settings, changed as given."""
    return lambda calibrates=False, **given: Texts(EvaluationSettings(**told | given), resident, calibrates)


def covered(windows):
    """The places of the tokens in a text."""
    length = windows.text.shape[1]
    return {token for place in windows.places for token in range(place * length, (place + 1) * length)}


@pytest.mark.parametrize("calibrates", [False, True])
def test_held_out_windows_are_none_that_the_search_or_the_calibration_sees(texts, calibrates):
    found = texts(calibrates)
    assert len(found.held_out.tokens) == 2
    assert not covered(found.held_out) & covered(found.search)
    assert bool(covered(found.held_out) & covered(found.calibration)) != calibrates
    assert found.report


def test_fewer_held_out_windows_than_asked_for_are_told(texts, capsys):
    found = texts(held_out_windows=10**6)
    assert f"held_out_windows: {len(found.held_out.tokens)} " in capsys.readouterr().err


def test_without_a_calibration_text_the_search_text_calibrates_and_as_much_as_there_is(texts):
    found = texts(True, calibration_text=None)
    assert len(found.calibration.tokens) == 32 * 32 // found.calibration.text.shape[1]  # 16,384 tokens were asked for
    assert found.held_out is None  # nothing is left


@pytest.mark.parametrize(("role", "calibrates"), [("search_text", False), ("calibration_text", True)])
def test_a_report_text_that_holds_passages_of_what_was_seen_is_refused(texts, told, tmp_path, role, calibrates):
    """Also if they share no whole window."""
    words = Path(told["search_text"]["source"]).read_text().split()
    (tmp_path / "again.txt").write_text(" ".join(["w1"] * 20 + words[:64] + ["w2"] * 100))
    given = {"report_text": {"source": str(tmp_path / "again.txt"), "window": 40, "windows": 4}}
    if role == "calibration_text":
        given["search_text"] = told["report_text"]
    with pytest.raises(InputError, match=f"report_text .* {role}"):
        _ = texts(calibrates, **given).report


def test_a_text_that_calibrates_nothing_is_neither_read_nor_in_the_fingerprint(texts, tmp_path):
    missing = {"source": str(tmp_path / "missing.txt"), "window": 32}
    found = texts(False, calibration_text=missing).fingerprint()
    assert set(found) - {"begin"} == {"search_text", "report_text", "held_out_text"}
    with pytest.raises(InputError, match="no such file"):
        texts(True, calibration_text=missing).fingerprint()


def test_second_texts_are_read_first_and_are_not_in_the_fingerprint(texts, told, tmp_path):
    assert texts(second_text=[told["report_text"]]).fingerprint() == texts().fingerprint()
    (tmp_path / "short.txt").write_text("w1 w2 w3")
    with pytest.raises(InputError, match=r"second_text\.0: .*short\.txt"):
        texts(second_text={"source": str(tmp_path / "short.txt"), "window": 32}).fingerprint()


def test_the_token_that_begins_windows_is_in_the_fingerprint(texts):
    found = texts()
    assert found.fingerprint().get("begin") == found.search.bos_token


def test_windows_longer_than_the_model_takes_are_refused(texts, told):
    with pytest.raises(InputError, match=r"search_text\.window: 65 .* 64 positions"):
        _ = texts(search_text=told["search_text"] | {"window": 65}).search


def windows_of(tokens, window=8):
    tokens = torch.as_tensor(tokens, dtype=torch.int64)
    return Windows(tokens[: len(tokens) // window * window].view(-1, window), TextSettings(source="x.txt"), ())


def slow(text, other):
    one, two = (each.tokens.flatten().tolist() for each in (text, other))
    known = {tuple(two[at : at + PASSAGE]) for at in range(len(two) - PASSAGE + 1)}
    starts = [at for at in range(len(one) - PASSAGE + 1) if tuple(one[at : at + PASSAGE]) in known]
    return len({at + step for at in starts for step in range(PASSAGE)}) / len(one)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("vocabulary", [2, 50_000])
def test_copied_passages_are_found_at_any_offset(seed, vocabulary):
    draw = torch.Generator().manual_seed(seed)
    text, other = (torch.randint(vocabulary, (size,), generator=draw) for size in (400, 1000))
    for at, to, length in [(3, 501, PASSAGE - 1), (100, 17, PASSAGE), (211, 640, 90)]:
        other[to : to + length] = text[at : at + length]
    one, two = windows_of(text), windows_of(other)
    assert share_in_common(one, two) == pytest.approx(slow(one, two))
    assert share_in_common(one, two) >= (PASSAGE + 90) / 400
    assert share_in_common(two, one) == pytest.approx(slow(two, one))


def test_ends():
    text = torch.arange(80)
    for other, share in [(text, 1), (text.flip(0), 0), (text[:24], 0)]:
        assert share_in_common(windows_of(text), windows_of(other)) == share
    assert share_in_common(windows_of(torch.zeros(80)), windows_of(torch.zeros(40))) == 1
