"""Cuts a text into windows of tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from evoprune import InputError
from problems.language_model.model.blocks import positions
from problems.language_model.settings import TextSettings
from problems.language_model.text.sampling import order
from problems.language_model.text.source import load_text

_TELLING = 16
"""Length of a sequence of tokens; unrelated texts share shorter ones."""


@dataclass(frozen=True)
class Windows:
    """Windows of tokens ``(windows, window)``, int64 on the CPU, and where they come from."""

    tokens: torch.Tensor
    settings: TextSettings
    places: tuple[int, ...]
    """The number of each window in its text, in increasing order."""

    @property
    def sha256(self) -> str:
        """The hash of the token ids."""
        return hashlib.sha256(self.tokens.numpy().tobytes()).hexdigest()

    @property
    def identity(self) -> tuple[str, tuple[int, ...]]:
        """What tells these windows from all others: the hash of the token ids, and their shape."""
        return self.sha256, tuple(self.tokens.shape)

    @property
    def predictions(self) -> int:
        """The number of next tokens that are predicted in all windows."""
        return predictions(self.tokens)

    def protocol(self) -> dict[str, Any]:
        """The part of the protocol that describes these windows."""
        windows, window = self.tokens.shape
        keys = {"source", "subset", "split", "column", "part", "sampling", "sampling_seed"}
        text = self.settings.model_dump(mode="json", include=keys)
        return text | {"windows": windows, "window": window, "predictions": self.predictions, "sha256": self.sha256}


def predictions(tokens: torch.Tensor) -> int:
    """The number of predicted tokens in ``tokens`` ``(windows, window)``: one fewer than tokens in each window."""
    return tokens.shape[0] * (tokens.shape[1] - 1)


def cut(settings: TextSettings, tokenizer: Any, role: str, at_most: bool = False) -> Windows:
    """Non-overlapping windows of the text that ``settings`` name, sampled as they say.

    No special tokens are added. ``role`` names the settings in errors. Raises
    :class:`evoprune.InputError` if the text is shorter than asked for; with ``at_most``, only
    if it has no window at all.
    """
    tokens, count = _tokenised(settings, tokenizer, role)
    available = len(tokens)
    wanted = settings.windows or max(1, available)
    if at_most:
        wanted = max(1, min(available, wanted))
    if available < wanted:
        raise InputError(
            f"{settings.source} has {count} tokens, {available} windows of {settings.window}; "
            f"expected {wanted} windows; ask for fewer or shorter ones, or give a longer text",
            f"problem.{role}",
        )
    return _chosen(tokens, order(tokens, wanted, settings.sampling, settings.sampling_seed)[:wanted], settings)


def share_a_window(one: Windows, other: Windows) -> bool:
    """Whether a whole window of one occurs in the tokens of the other, at any position."""
    return _holds(one, other) or _holds(other, one)


def _holds(text: Windows, windows: Windows) -> bool:
    if windows.tokens.shape[1] < _TELLING:
        return False
    joined, size = text.tokens.numpy().tobytes(), text.tokens.element_size()
    for row in windows.tokens.numpy():
        passage = row.tobytes()
        place = joined.find(passage)
        while place > 0 and place % size:  # not at the start of a token: bytes that are equal by chance
            place = joined.find(passage, place + 1)
        if place >= 0:
            return True
    return False


def check_length(settings: TextSettings, model: Any, role: str) -> None:
    """Raise :class:`evoprune.InputError` if ``model`` has fewer positions than a window has tokens."""
    longest = positions(model)
    if longest and settings.window > longest:
        raise InputError(f"{settings.window} is longer than the model's {longest} positions", f"problem.{role}.window")


def held_out(searched: Windows, learnt: Iterable[Windows], count: int, tokenizer: Any) -> Windows | None:
    """At most ``count`` more windows of the text of ``searched``, none of which shares a token with ``learnt``.

    They are the next windows of its sampling: those that follow, or the next ones of its shuffle.
    ``learnt`` are windows of the same text, of any length. None if no window is left.
    """
    settings = searched.settings
    tokens, total = _tokenised(settings, tokenizer, "search_text")
    free = _free(tokens, total, [searched, *learnt])
    rest = [w for w in order(tokens, len(searched.places), settings.sampling, settings.sampling_seed) if free[w]]
    return _chosen(tokens, rest[:count], settings) if rest[:count] else None


def unused(settings: TextSettings, used: Iterable[Windows], tokenizer: Any, role: str) -> Windows:
    """All windows of the text that ``settings`` name, of their length, that share no token with ``used``.

    ``used`` are windows of the same text, of any length. There may be none. Raises :class:`evoprune.InputError`.
    """
    tokens, total = _tokenised(settings, tokenizer, role)
    return _chosen(tokens, [window for window, free in enumerate(_free(tokens, total, used)) if free], settings)


def _free(tokens: numpy.ndarray[Any, Any], total: int, used: Iterable[Windows]) -> list[bool]:
    """Which of the windows ``tokens``, of a text of ``total`` tokens, share no token with ``used``."""
    seen = numpy.zeros(total, dtype=bool)
    for windows in used:
        length = windows.settings.window
        for place in windows.places:
            seen[place * length : (place + 1) * length] = True
    return [not window.any() for window in seen[: tokens.size].reshape(tokens.shape)]


def _tokenised(settings: TextSettings, tokenizer: Any, role: str) -> tuple[numpy.ndarray[Any, Any], int]:
    """All windows of a text ``(available, window)``, and its number of tokens."""
    numbers = tokenizer(load_text(settings, role), add_special_tokens=False, verbose=False)["input_ids"]
    whole = len(numbers) // settings.window * settings.window
    return numpy.array(numbers[:whole], dtype=numpy.int64).reshape(-1, settings.window), len(numbers)


def _chosen(tokens: numpy.ndarray[Any, Any], places: list[int], settings: TextSettings) -> Windows:
    kept = sorted(places)
    return Windows(torch.from_numpy(tokens[kept]), settings, tuple(kept))
