"""What a notebook shows of a run: a small table."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from evoprune.console.formatting import plain
from evoprune.interfaces.parts import reporting

if TYPE_CHECKING:
    from evoprune.api import Run


def table(run: Run) -> str:
    """``run`` as a table in HTML: its folder, the best fitness, and what its problem says of the result."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _rows(run))
    return f'<table style="text-align: left">{rows}</table>'


def _rows(run: Run) -> Iterator[tuple[str, str]]:
    problem = run.resolved.problem
    yield "run", str(run.folder)
    for label, value in zip(problem.labels_of(run.resolved.settings), run.best.fitness, strict=True):
        yield f"best {label}", plain(value)
    yield "candidates evaluated", f"{run.result.evaluations:,}"
    for line in reporting(problem).summary(run.result):
        name, colon, told = line.partition(": ")
        yield (name, told) if colon else ("", line)
