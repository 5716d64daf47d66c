"""The learning curve of a recovery: which of its points is the best, and its figure."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from evoprune.console.formatting import digits
from evoprune.figures import BLUE, COLOURS, GREY, ORANGE, entitle, log_scale_if_wide, new, save, thousands
from evoprune.problems.language_model.results.result import RecoveredRow

Point = Mapping[str, float | None]
"""A measurement: tokens trained on, mean parts of the loss since the last one, perplexity on held-out windows, and
divergence on them where that is the criterion."""

PERPLEXITY, DIVERGENCE = "held_out", "held_out_divergence"
"""Keys of a point."""

FIGURE = "recovery"
"""Name of the figure's files."""

_WORDS = {PERPLEXITY: "perplexity", DIVERGENCE: "divergence"}
_COLOURS = {"evolved": ORANGE, "uniform": BLUE, "dense": GREY}


def criterion(curve: Sequence[Point]) -> str:
    """Name of the quantity that decides which point is the best."""
    return _WORDS[_key(curve)]


def criterion_values(curve: Sequence[Point]) -> list[float]:
    """Value of the criterion at each point; the lower, the better, and infinite if it is not a number."""
    values = [point[_key(curve)] for point in curve]
    return [math.inf if value is None or math.isnan(value) else value for value in values]


def _key(curve: Sequence[Point]) -> str:
    return DIVERGENCE if DIVERGENCE in curve[0] else PERPLEXITY


def draw_recovery(rows: Mapping[str, RecoveredRow], dense: float | None, folder: Path, about: str = "") -> str:
    """Draw the curve of each of the ``rows``, and return the figure's caption.

    ``dense``: the perplexity of the dense model, if known. Infinite values and untrained models are left out.
    """
    figure, axes = new()
    shown, words = [], []
    what = criterion(next(iter(rows.values())).curve)
    others = iter(COLOURS[2:])
    for name, row in rows.items():
        if len(row.curve) == 1:
            continue
        values = criterion_values(row.curve)
        points = [(point["tokens"], y) for point, y in zip(row.curve, values, strict=True) if math.isfinite(y)]
        alike = "" if name == "evolved" else ", trained alike"
        words.append(f"{name}{alike}: {digits(values[0])} to {digits(min(values))}")
        colour = _COLOURS.get(name) or next(others)
        tokens, finite = [at for at, _ in points], [value for _, value in points]
        axes.plot(tokens, finite, color=colour, marker="o", markersize=4, label=words[-1])
        shown += finite
    if dense is not None and what == _WORDS[PERPLEXITY]:
        words.append(f"dense: {digits(dense)}")
        axes.axhline(dense, color=GREY, linestyle="--", label=words[-1])
        shown.append(dense)
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    axes.set(xlabel="tokens trained on", ylabel=f"{what} on held-out windows")
    entitle(axes, "Recovery towards the dense model", about)
    axes.legend(loc="upper right")
    save(figure, folder, FIGURE)
    return f"{what.capitalize()} on held-out windows against the tokens trained on ({'; '.join(words)})."
