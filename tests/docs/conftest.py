"""The pages, and the fenced blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.timings import short_timings  # noqa: F401 - a fixture

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


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    """A folder to work in whose ``problems/gpt2_mini.yaml``, found before ours, has little text and few candidates."""
    spec = yaml.safe_load((ROOT / "problems" / "gpt2_mini.yaml").read_text(encoding="utf-8"))
    problem, text = spec["problem"], {"source": "bundled:python-docs", "window": 64}
    problem["search_text"] = text | {"split": "validation", "windows": 2}
    problem["report_text"] = text | {"split": "test", "windows": 4}
    problem["calibration_text"] = text | {"split": "train", "windows": 8}
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "gpt2_mini.yaml").write_text(yaml.safe_dump(spec | {"population": 4}), encoding="utf-8")
    return tmp_path


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))
