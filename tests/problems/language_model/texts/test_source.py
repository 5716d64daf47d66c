import json
from itertools import pairwise

import pytest

from evoprune import InputError
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import KEY_WORDS, load_text, paragraphs, python_docs, split_of, words


def text_of(path, **settings):
    return load_text(TextSettings(source=str(path), **settings), "search_text")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_rows_of_every_format_give_one_text(tmp_path, encoding):
    from pyarrow import Table, parquet

    rows = ["First row.", "Second row, with a\nline end."]
    (tmp_path / "a.txt").write_text("\n\n".join(rows), encoding)
    lines = "\n".join(json.dumps({"text": 5, "body": row}) for row in rows) + "\n\n"
    (tmp_path / "a.jsonl").write_text(lines, encoding)
    parquet.write_table(Table.from_pydict({"body": rows, "n": [1, 2]}), tmp_path / "a.parquet")
    texts = {text_of(tmp_path / f"a.{suffix}", column="body") for suffix in ("txt", "jsonl", "parquet")}
    assert texts == {"First row.\n\nSecond row, with a\nline end."}


@pytest.mark.parametrize("separator", ["\n", " ", "-"])
def test_parts_that_meet_make_up_the_text(tmp_path, separator):
    """A part ends with a line, or else with a word; a text without either is cut anywhere."""
    text = separator.join(str(number) for number in range(2000))
    (tmp_path / "a.txt").write_text(text)
    parts = [text_of(tmp_path / "a.txt", part=pair) for pair in pairwise([0.0, 0.17, 0.5, 0.501, 1.0])]
    assert "".join(parts) == text
    assert all(part.endswith(separator) for part in parts[:-1]) or separator == "-"
    assert len(parts[0]) == pytest.approx(0.17 * len(text), abs=10)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("blank.txt", b" \n", "no text"),
        ("binary.txt", b"\xff\xfe\x00", "cannot be read"),
        ("a.jsonl", b"{not json", "cannot be read"),
        ("lone.jsonl", b'{"text": "x"}\n{"text": "\\ud800"}', "line 2: .*ud800"),
        ("b.jsonl", b'{"other": "x"}', "line 1 .* 'text'"),
        ("c.jsonl", b'{"text": 5}', "line 1 .* 'text'"),
        ("a.parquet", b"PAR0", "cannot be read"),
        ("a.docx", b"x", r"\.parquet"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        text_of(path)
    assert str(caught.value).startswith(f"problem.search_text: {path}")


@pytest.mark.parametrize(
    ("source", "split", "message"),
    [("nowhere.txt", None, "no such file"), ("bundled:x", "test", "unknown"), ("bundled:python-docs", "dev", "split")],
)
def test_bad_sources_are_named(source, split, message):
    with pytest.raises(InputError, match=message):
        text_of(source, split=split)


@pytest.mark.usefixtures("offline")
def test_an_unreachable_hub_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        text_of("evoprune/there-is-no-such-set")
    message = str(caught.value)
    assert "\n" not in message
    assert "local" in message


def test_splits_partition_the_reference_by_the_first_words_of_paragraphs():
    texts = {split: paragraphs(python_docs(split)) for split in ("train", "validation", "test")}
    for split, parts in texts.items():
        assert parts
        assert {split_of(part) for part in parts} == {split}
        for part in parts:
            assert split_of(part.replace(" ", "\n   ")) == split
            if len(words(part)) >= KEY_WORDS:
                assert split_of(part + " This sentence was added in a later version.") == split
