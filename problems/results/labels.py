"""Labels of results on pages and figures. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from problems.evaluation.settings import EvaluationSettings
from problems.texts.settings import TextSettings

WORDS = {
    "unseen": "perplexity on the report text",
    "gap_closed": "gap to dense closed",
    "gap_closed_reconstructed": "gap to dense closed, both reconstructed",
    "written": "what the models write",
}

SHARES = frozenset({"sparsity", "gap_closed", "gap_closed_reconstructed"})

EXPLAINED = {
    "unseen": "how many tokens the model hesitates between, on text that the search never saw; lower is better",
    "perplexity": "exp of the mean loss of the next token. search: the text that candidates were scored on; "
    "held_out: windows of the same source that the search did not see; report: another text. dense: the whole "
    "model; uniform: every layer loses the same share; evolved: what the search found; reconstructed: after the "
    "remaining weights were updated",
    "sparsity": "weights that are zero or gone: of the prunable ones (the matrices of the blocks), and of all",
    "gap_closed": "how much of the distance between uniform and dense, in log-perplexity on the report text, the "
    "search makes good",
    "gap_closed_reconstructed": "the same, where the remaining weights of both were updated",
    "overfitting": "the part of the gain over uniform, in nats a token, that the search text has and this one "
    "lacks; 0: all of it carries over",
    "cost": "what the models store, and compute for a token",
    "written": "each continues the beginnings of windows of the report text by its likeliest tokens",
}


def about(settings: EvaluationSettings, how: Sequence[str]) -> str:
    """``how`` the model is made smaller, between its name and those of the texts."""
    texts = dict.fromkeys(_name(text) for text in (settings.search_text, settings.report_text))
    return ", ".join([_last(settings.model), *how, " and ".join(texts)])


def _name(text: TextSettings) -> str:
    return _last(text.source)


def _last(source: str) -> str:
    return Path(source.removeprefix("bundled:")).name
