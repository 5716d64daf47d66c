"""The text in every Python installation, with splits that stay the same between Python versions.

The language reference in :mod:`pydoc_data.topics` is cut into paragraphs, and each
paragraph's *own first words* decide its split. The split therefore does not move when
topics are added, reordered or repeated, nor when the end of a paragraph is edited in
another Python version: a paragraph that was trained on never becomes one that is
reported on.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Split = Literal["train", "validation", "test"]

KEY_WORDS = 8
"""The number of first words that decide the split of a paragraph."""

_HELD_OUT_PERCENT = {"test": 15, "validation": 15}


def words(text: str) -> list[str]:
    """The lower-case alphabetic words of ``text``, which do not depend on its layout."""
    return re.findall(r"[a-z]+", text.lower())


def paragraphs(text: str) -> list[str]:
    """The blocks of ``text`` between blank lines, without trailing spaces, in order."""
    blocks = re.split(r"\n\s*\n", text.strip("\n"))
    return [block.rstrip() for block in blocks if block.strip()]


def split_of(paragraph: str) -> Split:
    """The split that a paragraph belongs to: 15% test, 15% validation, 70% train."""
    key = " ".join(words(paragraph)[:KEY_WORDS])
    bucket = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100
    for split, percent in _HELD_OUT_PERCENT.items():
        if bucket < percent:
            return split  # type: ignore[return-value]
        bucket -= percent
    return "train"


def python_docs(split: Split) -> str:
    """The paragraphs of the language reference in ``split``, each once, joined by blank lines."""
    from pydoc_data.topics import topics

    unique = dict.fromkeys(p for _, text in sorted(topics.items()) for p in paragraphs(text))
    return "\n\n".join(p for p in unique if split_of(p) == split)
