"""Divides the time of a command, and chooses windows of texts that fit.

Runs with the shares below, from 2 to 30 minutes, are measured in docs/measurements/bits.md, "By the clock".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from evoprune.problems.language_model.prune.interfaces import Json
from evoprune.problems.language_model.prune.options import PruneOptions
from evoprune.problems.language_model.results.recovery import COMPENSATION_TOKENS, TRAINING_COST
from evoprune.problems.language_model.texts.division import Division

_WINDOWS = 8  # of the report, at most; of the search as many or half
_CALIBRATED = 128  # windows of calibration, at most, in doublings from half of the search's
_PRINTED = 16  # of these, at most, in an experiment that is printed: there, they are not tried
_LONG = 600.0  # seconds, from which the more exact of two ways is taken, and the first file does not wait for more
_CALIBRATING = 0.12  # share of the time for calibration
_CANDIDATE = 0.02  # share of the time for a candidate, at most, and for new codes
_QUANTISING, _HASTE = 0.5, 0.1  # shares of the time left, and of all, for types: they gain more than training
_SEARCHING = 0.3  # share of the time that is left for the search
_ALONE = 0.4  # of it for a search after which nothing is trained: it ends with updates of the remaining weights
_REPORTING, _PASSES = 0.35, 5.0  # share of the time for passes over the report text, and their number in PyTorch
_MOST, _LEAST_REPORTED = 0.9, 2000  # share of the time for as many tokens of a report, at most
_RUNTIME_PASSES, _SLOWER = 2.0, 3.0  # of the result and its baseline in the runtime; its time of a token, if unknown
_TRAINED_WINDOW = 256  # tokens in a window that a result is trained on, at most
_LEAST_TRAINED = 8 * _TRAINED_WINDOW  # tokens that scales are trained on: on SmolLM2 an eighth of the divergence goes


class Call(Protocol):
    """A call of the command: its options, and the seconds that are left to the deadline."""

    asked: PruneOptions

    @property
    def left(self) -> float: ...


@dataclass(frozen=True)
class TimePlan:
    """Divides the time of ``call`` among calibration, search, training and report on ``text``.

    ``token``: seconds in which the dense model reads a token; ``runtime_token``: in the runtime of the export, None if
    unknown; ``comparing``: seconds to make a file to compare the result with.
    """

    call: Call
    text: Division
    token: float = 0.0
    runtime_token: float | None = None
    comparing: float = 0.0

    @cached_property
    def search(self) -> Division:
        """The text in windows for candidates, which may be shorter than the report's."""
        return replace(self.text, window=self._candidate[0])

    @cached_property
    def _candidate(self) -> tuple[int, int]:
        """Tokens in a window for candidates, and windows: the longest ones that fit, then the most."""
        ways = [(size, count) for size in self.text.sizes for count in (_WINDOWS, _WINDOWS // 2)]
        most = _CANDIDATE * self.call.asked.seconds
        return next(((size, count) for size, count in ways if size * count * self.token <= most), ways[-1])

    @cached_property
    def reported(self) -> int:
        """Windows of the report, which has its time first: of 2,000 tokens at least, if there is any time for them."""
        windows = _WINDOWS
        while windows > 1:
            share = _REPORTING if windows * self.text.window >= 2 * _LEAST_REPORTED else _MOST
            if self._passes(windows) <= share * self.call.asked.seconds:
                break
            windows //= 2
        return windows

    @property
    def reading(self) -> float:
        """Seconds of all passes over the report text, and of the file to compare with."""
        return self._passes(self.reported) + self.comparing

    def _passes(self, windows: int) -> float:
        runtime_token = _SLOWER * self.token if self.runtime_token is None else self.runtime_token
        return windows * self.text.window * (_PASSES * self.token + _RUNTIME_PASSES * runtime_token)

    def searching(self, trains: bool) -> float:
        """Seconds for the search: a share of the time left, or all but the report's where no training has room."""
        left = self.call.left
        if not trains:
            return _ALONE * left
        share, least = _SEARCHING * left, TRAINING_COST * _LEAST_TRAINED * self.token
        return share if self.reading + least < left - share else max(share, left - self.reading)

    @property
    def quantising(self) -> float:
        """Seconds for the types of the first candidate, if the report leaves them."""
        left = self.call.left
        return max(_HASTE * self.call.asked.seconds, min(_QUANTISING * min(_LONG, left), left - self.reading))

    def calibrated(self, work: Callable[[int], object] | None) -> int:
        """Return the windows to calibrate on: ``work`` is done for each doubling while the next one fits into a share.

        Each is to take about twice as long as the one before. Without ``work`` nothing is timed, and fewer are taken.
        """
        most = min(self.search.windows("calibration"), _CALIBRATED if work else _PRINTED)
        end, windows = time.monotonic() + _CALIBRATING * min(_LONG, self.call.asked.seconds), _WINDOWS // 2
        while True:
            begun = time.monotonic()
            if work:
                work(windows)
            now = time.monotonic()
            if 2 * windows > most or now + 2 * (now - begun) > end:
                return windows
            windows *= 2

    def setup(self, calibration: int) -> Json:
        """Return fields of a :class:`.Setup`: windows of texts, so many for ``calibration``, and times."""
        text, seconds, (_, count) = self.search, self.call.asked.seconds, self._candidate
        short = seconds < _LONG
        return {
            "search": text.settings("search", count),
            "held_out": text.count(count),
            "calibration": text.settings("calibration", calibration),
            "report": self.text.settings("report", self.reported),
            "length": self.text.window // (8 if short else 2),  # tokens before the one that is timed
            "short": short,
            "keep_codes": COMPENSATION_TOKENS * self.token > _CANDIDATE * seconds,
            "training": f"{max(1.0, self.call.left):.0f}s",
            "trained_window": text.line or min(_TRAINED_WINDOW, text.window),
            "least_trained": _LEAST_TRAINED,
            "comparing": self.comparing,
        }
