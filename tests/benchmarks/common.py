"""Code that benchmarks share: rows of Markdown tables, and processor time."""

from __future__ import annotations

import time
from collections.abc import Callable


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> str:
    """The first two rows of a Markdown table."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def cpu_seconds(function: Callable[..., object], *arguments: object) -> float:
    """Processor seconds of this process during a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start
