"""Shows how far a recovery is: the newest state every few seconds, also while one thing takes longer."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType

from tqdm import tqdm

_EVERY = 4.0
"""Seconds between two lines."""


class Progress(AbstractContextManager["Progress"]):
    """Writes lines to standard error until it is left. ``quiet``: another process tells it."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._state, self._over = quiet, "", threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def now(self, state: str) -> None:
        """What is being done, shown when the next line is due."""
        self._state = state

    def note(self, text: str) -> None:
        """One line at once."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def _repeat(self) -> None:
        while not self._over.wait(_EVERY):
            if self._state:
                self.note(self._state)


class Pace:
    """The speed since it was made, and the time that is left."""

    def __init__(self) -> None:
        self._start, self._tokens = time.perf_counter(), 0

    def add(self, tokens: int) -> None:
        """So many more ``tokens`` were trained on."""
        self._tokens += tokens

    def words(self, tokens_left: int) -> str:
        """Tokens a second, and the time for ``tokens_left`` more."""
        rate = self._tokens / (time.perf_counter() - self._start)
        left = tqdm.format_interval(tokens_left / rate) if rate else "?"
        return f"{rate:,.0f} tokens/s, {left} left"
