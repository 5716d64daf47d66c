"""Loads texts from the hub, from local files, and the bundled text."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from evoprune import InputError
from evoprune.plugins import blamed_on
from evoprune.problems.language_model.models.hub import quiet, reason_and_remedy
from evoprune.problems.language_model.texts.settings import BUNDLED_TEXT, HUB_SPLIT, TextSettings, text_fault
from evoprune.problems.language_model.texts.tasks import UTF_8, is_task, parse_json

Split = Literal["train", "validation", "test"]

KEY_WORDS = 8  # first words that decide the split of a paragraph of the bundled text
BETWEEN_ROWS = "\n\n"  # separates a data set's rows in one text, as is usual for WikiText

_HELD_OUT_PERCENT: dict[Split, int] = {"test": 15, "validation": 15}
_NEAR = 4096  # characters by which a part may end later than its share


def load_text(settings: TextSettings, role: str) -> str:
    """Return the text, or the ``part`` of it; ``role``: the key of the settings, for errors."""
    with blamed_on(f"problem.{role}"):
        text = _whole(settings)
        if settings.part:
            begin, end = (_between_words(text, share) for share in settings.part)
            text = text[begin:end]
        if not text.strip():
            raise InputError(f"{settings.source} holds no text")
    return text


def _whole(settings: TextSettings) -> str:
    if settings.is_bundled:
        return _bundled(settings)
    if fault := text_fault(settings):
        raise InputError(fault)
    if is_task(settings):
        raise InputError(f"{settings.source} is a task file: expected plain text")
    if settings.is_local:
        return _local(Path(settings.source), settings.column)
    return _hub(settings)


def _between_words(text: str, share: float) -> int:
    """Return the first index after ``share`` of ``text`` where a line, or else a word, ends; if none is near, any."""
    place = round(share * len(text))
    if place in {0, len(text)}:
        return place
    ends = (text.find(mark, place, place + _NEAR) for mark in "\n ")
    return next((end + 1 for end in ends if end >= 0), place)


def _local(path: Path, column: str) -> str:
    try:
        if path.suffix == ".txt":
            return path.read_text(UTF_8)
        return BETWEEN_ROWS.join(_json_lines(path, column) if path.suffix == ".jsonl" else _parquet(path, column))
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix}: {error}") from None


def _json_lines(path: Path, column: str) -> Iterator[str]:
    with path.open(encoding=UTF_8) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    row = parse_json(line)
                except (ValueError, RecursionError) as error:
                    raise ValueError(f"line {number}: {error}") from None
                yield _cell(row, column, f"line {number}")


def _parquet(path: Path, column: str) -> Iterator[str]:
    from pyarrow import parquet  # comes with datasets; slow to import

    file = parquet.ParquetFile(path)
    if column not in file.schema_arrow.names:
        raise KeyError(f"no column '{column}', only {', '.join(file.schema_arrow.names)}")
    for number, value in enumerate(file.read([column])[column].to_pylist(), start=1):
        yield _cell({column: value}, column, f"row {number}")


def _cell(row: Any, column: str, place: str) -> str:
    value = row.get(column) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"{place} has no text under '{column}'")
    return value


def _hub(settings: TextSettings) -> str:
    import datasets  # slow to import, and needed for hub texts only

    try:
        with quiet():
            rows = datasets.load_dataset(settings.source, settings.subset, split=settings.split or HUB_SPLIT)
        return BETWEEN_ROWS.join(rows[settings.column])
    except Exception as error:  # the libraries raise many kinds of errors
        reason, remedy = reason_and_remedy(error)
        others = "or give a local .txt, .jsonl or .parquet as source, or run problems/gpt2_mini.yaml"
        why = f"the data set '{settings.source}' could not be loaded ({reason})"
        raise InputError(f"{why}; {remedy}, {others}") from None


def _bundled(settings: TextSettings) -> str:
    if settings.source != BUNDLED_TEXT:
        raise InputError(f"unknown source '{settings.source}'; the bundled text is '{BUNDLED_TEXT}'")
    if settings.split not in get_args(Split):
        raise InputError(f"split '{settings.split}' of {BUNDLED_TEXT}: expected one of {', '.join(get_args(Split))}")
    return python_docs(settings.split)  # type: ignore[arg-type]


def python_docs(split: Split) -> str:
    """Return the paragraphs of Python's language reference in ``split``, each once, joined by blank lines."""
    from pydoc_data.topics import topics

    unique = dict.fromkeys(p for _, text in sorted(topics.items()) for p in paragraphs(text))
    return "\n\n".join(p for p in unique if split_of(p) == split)


def split_of(paragraph: str) -> Split:
    """Return the split, by the first words, so that it is stable across Python versions: 15% test, 15% validation."""
    key = " ".join(words(paragraph)[:KEY_WORDS])
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    for split, percent in _HELD_OUT_PERCENT.items():
        if bucket < percent:
            return split
        bucket -= percent
    return "train"


def words(text: str) -> list[str]:
    """Return the lower-case alphabetic words of ``text``, independent of the layout."""
    return re.findall(r"[a-z]+", text.lower())


def paragraphs(text: str) -> list[str]:
    """Return the blocks of ``text`` between blank lines, without trailing spaces."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return [block.rstrip() for block in blocks if block.strip()]
