"""Divides a text into parts for search, calibration and report, and these into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from evoprune import InputError
from evoprune.problems.planning.recipe import Json
from evoprune.problems.texts.settings import BUNDLED_TEXT, TextSettings
from evoprune.problems.texts.source import load_text
from evoprune.problems.texts.windows import tokens_of

_SHARES = {"search": (0.0, 0.3), "calibration": (0.3, 0.75), "report": (0.75, 1.0)}
_SPLITS = {"search": "validation", "calibration": "train", "report": "test"}
_ENOUGH = 4_000_000  # characters read at most: of a long text, each part is its beginning
WINDOWS = (512, 256, 128)  # tokens in a window: the first of these that the text has enough of
_NEEDED = {"search": 12, "calibration": 16, "report": 8}  # windows of each part, at least


@dataclass(frozen=True)
class Division:
    """Disjoint parts of a text: their settings and tokens by name, the tokens in a window, and a remark for people."""

    parts: dict[str, Json]
    tokens: dict[str, int]
    window: int
    remark: str

    def windows(self, part: str) -> int:
        return self.tokens[part] // self.window

    def settings(self, part: str, windows: int) -> Json:
        return self.parts[part] | {"window": self.window, "windows": windows}


def parts_of(text: str | None) -> dict[str, Json]:
    """Return the settings that read each part of ``text``, by default of the bundled one. Raises InputError."""
    if text is None:
        return {name: {"source": BUNDLED_TEXT, "split": split} for name, split in _SPLITS.items()}
    try:
        whole = TextSettings(source=text)
        length = len(load_text(whole, "text"))
    except (InputError, ValueError) as error:
        raise InputError(error.problems if isinstance(error, InputError) else "cannot be read", "--text") from None
    kept = min(1.0, _ENOUGH / length)
    return {
        name: {"source": whole.source, "part": [begin, round(begin + kept * (end - begin), 6)]}
        for name, (begin, end) in _SHARES.items()
    }


def divide(text: str | None, parts: dict[str, Json], tokenizer: Any, longest: int) -> Division:
    """Divide ``parts``, those of ``text``, into windows of at most ``longest`` tokens. Raises InputError."""
    tokens = {name: _count(settings, tokenizer) for name, settings in parts.items()}
    windows = [window for window in WINDOWS if window <= longest] or [longest]
    fitting = [window for window in windows if all(tokens[name] // window >= _NEEDED[name] for name in _NEEDED)]
    if not fitting:
        needed = max(windows[-1] * count / (_SHARES[name][1] - _SHARES[name][0]) for name, count in _NEEDED.items())
        raise InputError(
            f"{text} has about {sum(tokens.values()):,} tokens; expected at least {needed:,.0f}, about "
            f"{needed / 250:,.0f} kB of English",
            "--text",
        )
    sizes = ", ".join(f"{count:,} tokens for {name}" for name, count in tokens.items())
    remark = f"{text} in three parts: {sizes}; the search never sees the report's"
    if text is None:
        remark = (
            f"no --text was given: the Python documentation that comes with Python is used ({sizes}); give a text like "
            "what the model is for"
        )
    return Division(parts, tokens, fitting[0], remark)


def _count(settings: Json, tokenizer: Any) -> int:
    return len(tokens_of(load_text(TextSettings(**settings), "text"), tokenizer))
