"""Parts of a page, also for problems: see :mod:`evoprune.report.page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Drawing:
    """A figure: an image in HTML; in Markdown its ``words`` alone."""

    title: str
    svg: bytes
    words: str  # the caption, also for readers who cannot see the figure


@dataclass(frozen=True)
class Details:
    """Parts that a page shows on demand."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Heatmap:
    """A table of coloured cells. ``rows``: by name, then by column; a cell is its words and its place in [0, 1].

    ``whole``: rows of one cell. ``key``: colours, by their meaning. ``words``: the caption.
    """

    title: str
    rows: Mapping[str, Mapping[str, tuple[str, float]]]
    whole: Mapping[str, tuple[str, float]]
    key: Mapping[str, float]
    words: str

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))


Block = str | Drawing | Details | Heatmap  # a part of a page; a string is Markdown
