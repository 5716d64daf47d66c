"""Values and tables as Markdown, with all foreign markup escaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evoprune.console.formatting import plain

# characters that begin or end markup anywhere; underscores within a word do not
_MARKUP = re.compile(r"[\\`*|<>\[\]&]|(?<![^\W_])_|_(?![^\W_])")
_MARKUP_AT_START = re.compile(r"^(\d*)([-+#=~]|[.)](?!\S))")
_NUMBER = re.compile(r"-?\d[\d,.]*([eE][-+]?\d+)?%?( ± [\d.]+%?)?( \D+)?|-|nan|inf|infinite|")  # with error and unit


def text(value: Any) -> str:
    """Return ``value`` as a line of Markdown, with its markup escaped."""
    return _MARKUP_AT_START.sub(r"\1\\\2", _cell(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; columns of numbers, except the first, are aligned to the right."""
    rows = list(rows)
    numbers = [all(_NUMBER.fullmatch(plain(row[place])) for row in rows) for place in range(len(head))]
    rule = ["--:" if right and place else "---" for place, right in enumerate(numbers)]
    lines = [map(_cell, head), rule, *(map(_cell, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts(values: Mapping[str, Any], explained: Mapping[str, str] | None = None) -> str:
    """Return a table of names and values, with the sentences that explain values."""
    lines = ["| | |", "|---|---|"]
    for name, value in values.items():
        words = (explained or {}).get(name)
        lines.append(f"| {_cell(name)} | {_cell(value)}{f' *{_cell(words)}*' if words else ''} |")
    return "\n".join(lines)


def code(content: str) -> str:
    """Return ``content`` as a code block."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}\n{content.rstrip()}\n{fence}"


def _cell(value: Any) -> str:
    return _MARKUP.sub(r"\\\g<0>", " ".join(plain(value).split()))
