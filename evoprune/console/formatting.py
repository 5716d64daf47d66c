"""Values and tables as plain text, for the terminal and for reports."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

_VERY_LARGE = 1e12
_WHOLE = 1e15  # from which on a double has no digits behind the point


class Share(float):
    """A share, which people read in percent."""


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each of ``rows``: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([first.strip().ljust(widths[0]), *others])


def digits(value: float | None, count: int = 4) -> str:
    """``value`` in ``count`` digits, or whole, with commas; powers of ten if it is very large; infinite if None."""
    if value is None or math.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if 10 ** (count - 1) <= abs(value) < _VERY_LARGE else f"{value:,.{count}g}"


def interval(seconds: float | None) -> str:
    """A time for people, as in 01:10; a dash for none."""
    return "-" if seconds is None else str(tqdm.format_interval(seconds))


def plain(value: Any) -> str:
    """A value for people: whole or six digits, a share in percent, a dash for nothing, no brackets."""
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Share):
        return f"{100 * value:.1f}%"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < _WHOLE else f"{value:.6g}"
    return str(value)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``value`` without inner mappings: an inner key follows the outer one, after a dot."""
    items: dict[str, Any] = {}
    for key, item in value.items():
        items |= flat(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return items
