"""Rows of Markdown tables."""

from __future__ import annotations


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> str:
    """The first two rows of a Markdown table."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"
