"""Cuts a text into windows of tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch

from evoprune import InputError
from problems.pruning.settings import TextSettings
from problems.pruning.text.source import load_text


@dataclass(frozen=True)
class Windows:
    """Windows of tokens ``(windows, window)``, int64 on the CPU, and where they come from."""

    tokens: torch.Tensor
    settings: TextSettings
    sha256: str
    """Of the token numbers that are scored."""

    @property
    def predictions(self) -> int:
        """How many next tokens are predicted: one fewer than tokens in each window."""
        return self.tokens.shape[0] * (self.tokens.shape[1] - 1)

    def protocol(self) -> dict[str, Any]:
        """What must be stated beside a perplexity over these windows."""
        windows, window = self.tokens.shape
        text = self.settings.model_dump(mode="json", include={"source", "subset", "split"})
        return text | {"windows": windows, "window": window, "predictions": self.predictions, "sha256": self.sha256}


def cut(settings: TextSettings, tokenizer: Any, role: str, at_most: bool = False) -> Windows:
    """The first non-overlapping windows of the text that ``settings`` name.

    No special tokens are added. ``role`` names the settings in errors. Raises
    :class:`evoprune.InputError` if the text is shorter than asked for; with ``at_most``, only
    if it has no window at all.
    """
    text = load_text(settings, role)
    tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    available = len(tokens) // settings.window
    wanted = settings.windows or max(1, available)
    if at_most:
        wanted = max(1, min(available, wanted))
    if available < wanted:
        raise InputError(
            f"problem.{role}: {settings.source} has {len(tokens)} tokens, {available} windows of {settings.window}; "
            f"expected {wanted} windows; ask for fewer or shorter ones, or give a longer text"
        )
    kept = torch.tensor(tokens[: wanted * settings.window], dtype=torch.int64)
    digest = hashlib.sha256(kept.numpy().tobytes()).hexdigest()
    return Windows(kept.view(wanted, settings.window), settings, digest)
