"""The texts of a run in their roles, on a model with 64 positions."""

from pathlib import Path

import pytest

from evoprune import InputError
from problems.language_model.settings import LanguageModelSettings
from problems.models.resident import Resident
from problems.texts.text_splits import Texts


@pytest.fixture(scope="module")
def resident(small):
    return Resident.load(LanguageModelSettings(**small))


@pytest.fixture
def texts(small, resident):
    """Makes the texts of settings, changed as given."""
    return lambda calibrates=False, **given: Texts(LanguageModelSettings(**small | given), resident, calibrates)


def covered(windows):
    """The places of the tokens in a text."""
    length = windows.tokens.shape[1]
    return {token for place in windows.places for token in range(place * length, (place + 1) * length)}


@pytest.mark.parametrize("calibrates", [False, True])
def test_held_out_windows_are_none_that_the_search_or_the_calibration_sees(texts, calibrates):
    found = texts(calibrates)
    assert len(found.held_out.tokens) == 2
    assert not covered(found.held_out) & covered(found.search)
    assert bool(covered(found.held_out) & covered(found.calibration)) != calibrates


def test_without_a_calibration_text_the_search_text_calibrates_and_as_much_as_there_is(texts):
    found = texts(True, calibration_text=None)
    assert len(found.calibration.tokens) == 32  # 16,384 tokens would be 512 windows
    assert found.held_out is None  # nothing is left


@pytest.mark.parametrize(("role", "calibrates"), [("search_text", False), ("calibration_text", True)])
def test_a_report_text_that_holds_passages_of_what_was_seen_is_refused(texts, small, tmp_path, role, calibrates):
    text = Path(small["search_text"]["source"]).read_text()
    (tmp_path / "again.txt").write_text(text)
    given = {"report_text": {"source": str(tmp_path / "again.txt"), "window": 40, "windows": 4}}
    if role == "calibration_text":
        given["search_text"] = small["report_text"]
    with pytest.raises(InputError, match=f"holds passages of the {role}"):
        _ = texts(calibrates, **given).report


def test_so_is_one_that_shares_passages_but_no_whole_window(texts, small, tmp_path):
    words = Path(small["search_text"]["source"]).read_text().split()
    begin = 32 * 4 * 8  # words of the text that the windows of the search are of, between others
    (tmp_path / "mixed.txt").write_text(" ".join(["w1"] * 20 + words[:34] + ["w2"] * begin))
    given = {"report_text": {"source": str(tmp_path / "mixed.txt"), "window": 40, "windows": 4}}
    with pytest.raises(InputError, match="holds passages of the search_text"):
        _ = texts(**given).report


def test_a_text_that_calibrates_nothing_is_neither_read_nor_in_the_fingerprint(texts, tmp_path):
    missing = {"source": str(tmp_path / "missing.txt"), "window": 32}
    found = texts(False, calibration_text=missing).fingerprint()
    assert set(found) == {"search_text", "report_text", "held_out_text"}
    with pytest.raises(InputError, match="no such file"):
        texts(True, calibration_text=missing).fingerprint()


def test_windows_longer_than_the_model_takes_are_refused(texts, small):
    with pytest.raises(InputError, match="65 is longer than the model's 64 positions"):
        _ = texts(search_text=small["search_text"] | {"window": 65}).search
