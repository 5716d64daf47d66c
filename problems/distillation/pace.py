"""The speed of a training."""

from __future__ import annotations

import time

from tqdm import tqdm


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
