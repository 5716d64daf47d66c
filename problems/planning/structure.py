"""Heads and channels that go altogether: what several goals reach in the same way, under different budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evoprune import InputError
from problems.planning.recipe import Json

if TYPE_CHECKING:
    from problems.planning.subject import Subject

EVALUATIONS = (24, 110)

_LEVELS = 12
"""About so many widths of an MLP are tried."""

_LEAST_STEP = 32
"""The fewest channels of a step, as the transform says."""


def narrower(subject: Subject, budget: Json) -> Json:
    """As ``problems/smollm2_structure.yaml``: compensated widths cost the least quality (docs/structure.md).

    Heads stay where the model's code does not run with fewer. Raises :class:`evoprune.InputError` where the model's
    blocks cannot be taken apart.
    """
    if subject.width is None:
        raise InputError(
            "heads and channels of this model are not known, so that it cannot be made narrower; give --sparsity, or "
            "--size with --out FILE.gguf",
            "prune",
        )
    units = {"score": "structured_obs", "compensate": True}
    heads = [{"use": "heads", **units}] if subject.heads else []
    return {
        "problem": {
            "use": "language_model",
            "objective": "kl",
            "transforms": [*heads, {"use": "channels", "step": step(subject.width), **units}],
            "budget": budget,
        },
        "operators": {
            "algorithm": "equal_marginals",
            "mutate": {"use": "exchange", "moves": 3},
            "repair": "shift",
        },
    }


def step(width: int) -> int:
    """The channels between two widths of an MLP of ``width``: the divisor that is nearest to a twelfth of it."""
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = [size for size in fitting if size % _LEAST_STEP == 0] or fitting
    return min(whole, key=lambda size: abs(size - width / _LEVELS))
