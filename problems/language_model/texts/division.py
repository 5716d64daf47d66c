"""Divides a text into parts for search, calibration and report, and each part into windows. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.problems.language_model.texts.settings import BUNDLED_TEXT, TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.tasks import is_task, most_tokens, read_lines

Json = dict[str, Any]

_SHARES = {"search": (0.0, 0.3), "calibration": (0.3, 0.75), "report": (0.75, 1.0)}
_SPLITS = {"search": "validation", "calibration": "train", "report": "test"}
_MOST = 4_000_000  # characters that are read: of a longer text, only the beginning of each part
_WINDOWS = (512, 256, 128)  # tokens in a window: the first size for which the text is long enough
_LONGEST_LINE = 2048  # tokens
_UNCOMPRESSED = (".txt", ".jsonl")
_NEEDED = {"search": 12, "calibration": 16, "report": 8}  # windows of each part, at least


@dataclass(frozen=True)
class Division:
    """Disjoint parts of a text: settings and tokens by name, the tokens in a window, and a remark for people.

    ``line``: the tokens of the longest line of a task file, with which every line is counted.
    """

    parts: dict[str, Json]
    tokens: dict[str, int]
    window: int
    remark: str
    line: int | None = None

    def windows(self, part: str) -> int:
        return self.tokens[part] // self.window

    def count(self, windows: int) -> int:
        """Return the number of lines of a task file in ``windows``; of a plain text, their number."""
        return windows * self.window // (self.line or self.window)

    def settings(self, part: str, windows: int) -> Json:
        """Return the settings of so many ``windows`` of a part, at random: the first ones are often of one document.

        Of the report's part the first, as the settings demand.
        """
        sampled = {"window": self.line or self.window, "windows": self.count(windows)}
        return self.parts[part] | sampled | ({} if part == "report" else {"sampling": "random"})

    @property
    def sizes(self) -> list[int]:
        """Possible sizes of windows, in tokens, in falling order."""
        return _sizes(self.line or 0, self.window) or [self.window]


def _sizes(least: int, most: int) -> list[int]:
    return [window for window in _WINDOWS if least <= window <= most]


def parts_of(text: str | None) -> dict[str, Json]:
    """Return the settings of each part of ``text``, by default of the bundled one. Raises InputError."""
    if text is None:
        return {name: {"source": BUNDLED_TEXT, "split": split} for name, split in _SPLITS.items()}
    whole = TextSettings(source=text)
    length = 0 if is_task(whole) else len(load_text(whole, "text"))
    share = min(1.0, _MOST / length) if length else 1.0
    return {
        name: {"source": whole.source, "part": [begin, round(begin + share * (end - begin), 6)]}
        for name, (begin, end) in _SHARES.items()
    }


def short_fault(text: str) -> str | None:
    """Return the fault of a plain file with fewer bytes than a text needs tokens, before a tokenizer is loaded.

    None for other texts: :func:`divide` counts their tokens. A token has a byte or more.
    """
    settings, path = TextSettings(source=text), Path(text)
    if path.suffix not in _UNCOMPRESSED or not path.is_file() or is_task(settings):
        return None
    size = path.stat().st_size
    return f"{text} has {size:,} bytes; {_expected(_WINDOWS[-1])}" if size < _needed(_WINDOWS[-1]) else None


def divide(text: str | None, parts: dict[str, Json], tokenizer: Any, longest: int) -> Division:
    """Divide the ``parts`` of ``text`` into windows of at most ``longest`` tokens. Raises InputError."""
    tokens = {name: _count(settings, tokenizer) for name, settings in parts.items()}
    windows = _sizes(0, longest) or [longest]
    if not (window := _first_fitting(windows, tokens)):
        raise InputError(f"{text} has about {sum(tokens.values()):,} tokens; {_expected(windows[-1])}")
    sizes = ", ".join(f"{count:,} tokens for {name}" for name, count in tokens.items())
    remark = f"{text} in three parts: {sizes}; the search never sees the report's"
    if text is None:
        remark = (
            f"no --text was given: the Python documentation that comes with Python is used ({sizes}); give a text like "
            "what the model is for"
        )
    return Division(parts, tokens, window, remark)


def divide_lines(task: str, parts: dict[str, Json], tokenizer: Any, longest: int) -> Division:
    """Divide the lines of the file ``task``, as :func:`divide`. Raises InputError."""
    from evoprune.problems.language_model.models.load import added_bos_token  # which imports torch

    lines = {name: read_lines(TextSettings(**settings), tokenizer) for name, settings in parts.items()}
    bos = added_bos_token(tokenizer) is not None
    sizes = {line: bos + most_tokens(line, tokenizer) for part in lines.values() for line in part}
    line, size = max(sizes.items(), key=lambda item: item[1])
    if size > min(longest, _LONGEST_LINE):
        most = min(longest, _LONGEST_LINE)
        raise InputError(f"{task}: line {line.number} has {size} tokens: expected at most {most}")
    tokens = {name: size * len(part) for name, part in lines.items()}
    windows = _sizes(size, longest) or [size]
    if not (window := _first_fitting(windows, tokens)):
        needed = ceil(_needed(windows[-1]) / size)
        raise InputError(f"{task} has {len(sizes)} different lines: expected at least {needed} of this length")
    counts = ", ".join(f"{len(part)} for {name}" for name, part in lines.items())
    remark = f"{task}, {len(sizes)} lines of at most {size} tokens: {counts}; the search never sees the report's"
    return Division(parts, tokens, window, remark, size)


def _first_fitting(windows: Sequence[int], tokens: Mapping[str, int]) -> int | None:
    """Return the first size of windows for which each part has enough ``tokens``."""
    fitting = (window for window in windows if all(tokens[name] // window >= _NEEDED[name] for name in _NEEDED))
    return next(fitting, None)


def _needed(window: int) -> float:
    """Return the fewest tokens of a text that can be divided into windows of ``window``."""
    return max(window * count / (_SHARES[name][1] - _SHARES[name][0]) for name, count in _NEEDED.items())


def _expected(window: int) -> str:
    """Return the end of a message about a plain text that is too short for windows of ``window`` tokens."""
    needed = _needed(window)
    return f"expected at least {needed:,.0f} tokens, about {needed / 250:,.0f} kB of English"


def _count(settings: Json, tokenizer: Any) -> int:
    from evoprune.problems.language_model.texts.windows import tokenise  # which imports torch

    return len(tokenise(load_text(TextSettings(**settings), "text"), tokenizer))
