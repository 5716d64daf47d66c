"""The pages, and the fenced blocks in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from tests.exports import _short_checks, fresh_processes  # noqa: F401 - fixtures

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
SHELLS = {"", "bash", "console", "sh", "shell"}

_FENCE = re.compile(r"^```([\w{}-]*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of ``page`` in their order."""
    return [Block(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> list[list[str]]:
    """The words of each command line in the page's blocks of commands."""
    text = "\n".join(block.text for block in blocks(page) if block.language in SHELLS).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith(("python -m ", "make "))]
    return [shlex.split(line, comments=True) for line in lines]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))
