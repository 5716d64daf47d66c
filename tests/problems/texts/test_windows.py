"""Windows that are searched, and those that stay unseen."""

import numpy
import pytest

from problems.models.load import BUNDLED_WEIGHTS, load_tokenizer
from problems.texts import windows
from problems.texts.settings import TextSettings
from problems.texts.windows import cut_windows, held_out_windows, share_a_window

WORDS = 103


def numbers(text, **_):
    """A tokenizer whose tokens are the text's numbers."""
    return {"input_ids": [int(word) for word in text.split()]}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(" ".join(map(str, range(WORDS))))
    return lambda **given: TextSettings(**{"source": str(path), "window": 10, "windows": 3} | given)


def of(windows):
    return windows.tokens.flatten().tolist()


def test_the_first_windows_and_those_that_follow(text):
    searched = cut_windows(text(), numbers, "search_text")
    assert of(searched) == list(range(30))
    assert of(held_out_windows(searched, [], 2, numbers)) == list(range(30, 50))


@pytest.mark.parametrize("sampling", ["random", "clusters"])
def test_samples_are_whole_windows_in_the_order_of_the_text(text, sampling):
    searched = cut_windows(text(sampling=sampling, sampling_seed=3), numbers, "search_text")
    assert searched.tokens.shape == (3, 10)
    assert of(searched) == sorted(of(searched)) == [10 * p + i for p in searched.places for i in range(10)]
    assert searched.places != (0, 1, 2)
    assert searched.protocol()["sampling_seed"] == 3


@pytest.mark.parametrize("sampling", ["first", "random", "clusters"])
def test_held_out_windows_share_no_token_with_what_was_seen(text, sampling):
    searched = cut_windows(text(sampling=sampling), numbers, "search_text")
    calibration = cut_windows(text(window=7, windows=2, sampling=sampling), numbers, "calibration_text")
    unseen = held_out_windows(searched, [calibration], 100, numbers)
    assert not set(of(unseen)) & {*of(searched), *of(calibration)}
    covered = numpy.isin(numpy.arange(100).reshape(10, 10), [*of(searched), *of(calibration)]).any(1)
    assert len(unseen.places) == 10 - covered.sum()


def test_a_tokenizer_reads_a_text_once_for_all_roles_and_lengths(text):
    read = []

    def tokenizer(given, **_):
        read.append(len(given) > WORDS)  # not the short ones that show what a text begins with
        return numbers(given)

    searched = cut_windows(text(), tokenizer, "search_text")
    assert of(held_out_windows(searched, [], 2, tokenizer)) == list(range(30, 50))
    assert of(cut_windows(text(window=7), tokenizer, "calibration_text")) == list(range(21))
    assert sum(read) == 1
    assert of(cut_windows(text(part=(0.5, 1)), tokenizer, "report_text"))[0] > 30
    assert sum(read) == 2


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_tokens_of_parts_are_those_of_the_whole_text(monkeypatch, tmp_path, at_once):
    """Also where lines are empty, or words end with signs."""
    text = "w1, w2.\n\n = w3 = \n w4\n\n\nw5 w6\tw7\n" * 20
    path = tmp_path / "text.txt"
    path.write_text(text)
    monkeypatch.setattr(windows, "_AT_ONCE", at_once)
    tokenizer = load_tokenizer(BUNDLED_WEIGHTS)
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    found = cut_windows(TextSettings(source=str(path), window=len(whole), windows=1), tokenizer, "search_text")
    assert of(found) == whole


def test_nothing_is_left_of_a_text_that_is_searched_whole(text):
    assert held_out_windows(cut_windows(text(windows=None), numbers, "search_text"), [], 8, numbers) is None


@pytest.mark.parametrize("window", [16, 23, 40])
def test_a_passage_is_found_wherever_windows_begin(text, tmp_path, window):
    """The tokens 30 to 69 as a text of their own, cut into windows of another length, and tokens of no such text."""
    whole = cut_windows(text(window=17, windows=None), numbers, "report_text")
    (tmp_path / "part.txt").write_text(" ".join(map(str, range(30, 70))))
    part = cut_windows(text(source=str(tmp_path / "part.txt"), window=window, windows=1), numbers, "search_text")
    assert share_a_window(whole, part)
    assert share_a_window(part, whole)
    (tmp_path / "other.txt").write_text(" ".join(map(str, [*range(30, 70)][::-1])))
    other = cut_windows(text(source=str(tmp_path / "other.txt"), window=window, windows=1), numbers, "search_text")
    assert not share_a_window(whole, other)
