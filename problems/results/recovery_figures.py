"""The figure of recoveries: how good each model became, against the tokens that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprune import digits
from evoprune.figures import BLUE, COLOURS, GREY, ORANGE, entitle, log_scale_if_wide, new, save, thousands
from problems.distillation.held_out import PERPLEXITY, WORDS, judged, judged_by

NAME = "recovery"
"""Of the figure's files."""

_COLOURS = {"evolved": ORANGE, "uniform": BLUE, "dense": GREY}


def draw_recovery(rows: Mapping[str, Mapping[str, Any]], dense: float | None, folder: Path, about: str = "") -> str:
    """Draw what held-out windows decide by against the tokens trained on, and return the sentence that goes with it.

    ``rows``: of :data:`problems.distillation.recover.Row`, by name. ``dense``: the perplexity of the dense
    model as it was; None: not known. Infinite values and models that were not trained are left out. ``about``: what was
    recovered.
    """
    figure, axes = new()
    shown, words = [], []
    what = WORDS[judged_by(next(iter(rows.values()))["curve"])]
    others = iter(COLOURS[2:])
    for name, row in rows.items():
        curve = row["curve"]
        if len(curve) == 1:
            continue
        values = judged(curve)
        points = [(point["tokens"], value) for point, value in zip(curve, values, strict=True) if math.isfinite(value)]
        alike = "" if name == "evolved" else ", trained alike"
        words.append(f"{name}{alike}: {digits(values[0])} to {digits(min(values))}")
        colour = _COLOURS.get(name) or next(others)
        axes.plot(
            [at for at, _ in points],
            [value for _, value in points],
            color=colour,
            marker="o",
            markersize=4,
            label=words[-1],
        )
        shown += [value for _, value in points]
    if dense is not None and what == WORDS[PERPLEXITY]:
        words.append(f"dense: {digits(dense)}")
        axes.axhline(dense, color=GREY, linestyle="--", label=words[-1])
        shown.append(dense)
    log_scale_if_wide(axes, shown)
    thousands(axes.xaxis)
    axes.set(xlabel="tokens trained on", ylabel=f"{what} on held-out windows")
    entitle(axes, "Recovery towards the dense model", about)
    axes.legend(loc="upper right")
    save(figure, folder, NAME)
    return f"{what.capitalize()} on held-out windows against the tokens trained on ({'; '.join(words)})."
