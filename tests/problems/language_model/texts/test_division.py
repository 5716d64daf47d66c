"""A text is divided into parts, and these into windows."""

import pytest

from evoprune import InputError
from evoprune.problems.language_model.texts.division import divide as divide_parts
from evoprune.problems.language_model.texts.division import parts_of
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import cut_windows


def tokenizer(text, **_):
    return {"input_ids": list(range(len(text.split())))}


def divide(text, longest):
    return divide_parts(text, parts_of(text), tokenizer, longest)


@pytest.mark.parametrize("mark", ["\n", " "], ids=["lines", "one line"])
def test_the_parts_of_a_text_have_no_word_in_common_and_make_up_the_whole(tmp_path, mark):
    words = [f"word{number}" for number in range(9000)]
    (tmp_path / "all.txt").write_text(mark.join(words))
    found = divide(str(tmp_path / "all.txt"), 2048)
    texts = [
        load_text(TextSettings(**found.parts[name]), "text").split() for name in ("search", "calibration", "report")
    ]
    assert [word for text in texts for word in text] == words
    assert list(found.tokens.values()) == [len(text) for text in texts]
    assert all(abs(len(text) / len(words) - share) < 0.01 for text, share in zip(texts, (0.3, 0.45, 0.25), strict=True))


def test_windows_are_as_long_as_the_text_and_the_model_allow(tmp_path):
    def window(words, longest):
        (tmp_path / "all.txt").write_text(" ".join(["word"] * words))
        return divide(str(tmp_path / "all.txt"), longest).window

    assert window(30_000, 2048) == 512
    assert window(30_000, 256) == 256
    assert window(12_000, 2048) == 256
    assert window(30_000, 100) == 100
    with pytest.raises(InputError, match="has about 3,000 tokens; expected at least 5,120"):
        window(3_000, 2048)


def test_windows_come_from_the_whole_part_and_those_of_the_report_are_its_first(tmp_path):
    (tmp_path / "all.txt").write_text(" ".join(["word"] * 90_000))
    found = divide(str(tmp_path / "all.txt"), 2048)
    places = {
        name: cut_windows(TextSettings(**found.settings(name, 8), begin=False), tokenizer, name).places
        for name in found.parts
    }
    assert places["report"] == tuple(range(8))
    assert all(places[name][-1] > found.windows(name) / 2 for name in ("search", "calibration"))


def test_of_a_very_long_text_each_part_gives_its_begin_alone(tmp_path):
    (tmp_path / "all.txt").write_text("word " * 2_000_000)
    found = divide(str(tmp_path / "all.txt"), 2048)
    assert sum(found.tokens.values()) == pytest.approx(800_000, rel=0.01)
    begins = [found.parts[name]["part"][0] for name in ("search", "calibration", "report")]
    assert begins == [0.0, 0.3, 0.75]
