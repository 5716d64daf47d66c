import numpy
import pytest
from transformers import AutoTokenizer

from evoprune import InputError
from evoprune.problems.language_model.models.load import load_tokenizer
from evoprune.problems.language_model.models.weight_files import BUNDLED_WEIGHTS
from evoprune.problems.language_model.texts import windows
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.text_splits import holds_much_of
from evoprune.problems.language_model.texts.windows import cut_windows, held_out_windows, settings_of
from tests.problems.language_model.small import BEGIN, problem_in

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
    assert held_out_windows(cut_windows(text(windows=None), numbers, "search_text"), [], 8, numbers) is None


def test_a_text_that_is_too_short_is_refused_unless_fewer_windows_will_do(text):
    with pytest.raises(InputError, match=r"search_text: .*10 windows of 10.*11"):
        cut_windows(text(windows=11), numbers, "search_text")
    assert len(cut_windows(text(windows=11), numbers, "search_text", at_most=True).places) == 10
    with pytest.raises(InputError, match="0 windows of 104"):
        cut_windows(text(window=104, windows=None), numbers, "search_text", at_most=True)


@pytest.mark.parametrize("sampling", ["first", "random"])
def test_samples_are_whole_windows_in_the_order_of_the_text_and_others_share_no_token_with_them(text, sampling):
    searched = cut_windows(text(sampling=sampling, sampling_seed=3), numbers, "search_text")
    assert of(searched) == sorted(of(searched)) == [10 * p + i for p in searched.places for i in range(10)]
    assert (searched.places == (0, 1, 2)) == (sampling == "first")
    assert searched.protocol()["sampling_seed"] == 3
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


def test_a_text_of_one_word_is_tokenised_in_parts_of_bounded_length(monkeypatch, text, tmp_path):
    (tmp_path / "word.txt").write_text("7" * 1000)
    monkeypatch.setattr(windows, "_AT_ONCE", 50)
    monkeypatch.setattr(windows, "_LONGEST_WORD", 20)
    lengths = []

    def tokenizer(part, **_):
        lengths.append(len(part))
        return {"input_ids": [int(sign) for sign in part]}

    found = cut_windows(text(source=str(tmp_path / "word.txt"), window=1000, windows=1), tokenizer, "search_text")
    assert of(found) == [7] * 1000
    assert max(lengths) == 70


@pytest.mark.parametrize("window", [16, 23, 40])
def test_a_passage_is_found_wherever_windows_begin(text, tmp_path, window):
    """The tokens 30 to 69 as a text of their own, cut into windows of another length, and tokens of no such text."""
    whole = cut_windows(text(window=17, windows=None), numbers, "report_text")
    (tmp_path / "part.txt").write_text(" ".join(map(str, range(30, 70))))
    part = cut_windows(text(source=str(tmp_path / "part.txt"), window=window, windows=1), numbers, "search_text")
    assert holds_much_of(whole, part)
    assert holds_much_of(part, whole)
    (tmp_path / "other.txt").write_text(" ".join(map(str, [*range(30, 70)][::-1])))
    other = cut_windows(text(source=str(tmp_path / "other.txt"), window=window, windows=1), numbers, "search_text")
    assert not holds_much_of(whole, other)


def test_the_seed_decides_and_more_random_windows_hold_the_fewer(text):
    few, more, others = (
        {*cut_windows(text(sampling="random", windows=count, sampling_seed=seed), numbers, "search_text").places}
        for count, seed in ((3, 1), (6, 1), (6, 2))
    )
    assert few < more != others


@pytest.mark.parametrize(("begin", "first"), [(False, None), (True, "w127"), ("auto", "w127")])
def test_windows_begin_with_the_tokenizers_token_as_settings_say(tmp_path, begin, first):
    told = problem_in(tmp_path, begin=True)
    report = told["report_text"]
    words = [int(word[1:]) for word in (tmp_path / "report.txt").read_text().split()]
    found = cut_windows(
        TextSettings(**report, begin=begin), AutoTokenizer.from_pretrained(told["model"]), "report_text"
    )
    length = 32 - (first is not None)
    rows = [words[length * at : length * at + length] for at in range(4)]
    assert found.tokens.tolist() == [[BEGIN, *row] for row in rows] if first else rows
    assert found.text.tolist() == rows
    assert found.predictions == 4 * 31
    assert (found.bos_token, found.protocol()["begin"], found.protocol()["window"]) == (first, first, 32)
    assert settings_of(found.protocol()).begin is (first is not None)


def test_a_tokenizer_that_adds_no_token_cannot_be_asked_for_one_it_lacks(small):
    tokenizer = AutoTokenizer.from_pretrained(small["model"])
    assert cut_windows(TextSettings(**small["report_text"]), tokenizer, "report_text").bos_token is None
    with pytest.raises(InputError, match=r"report_text\.begin"):
        cut_windows(TextSettings(**small["report_text"], begin=True), tokenizer, "report_text")
