"""Goals of the command ``prune``: the option of each, and the experiment that reaches it. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from evoprune import InputError

Json = dict[str, Any]

STRUCTURE_EVALUATIONS = (24, 110)  # of a search with narrower(), at least and at most

_LEVELS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands


@dataclass(frozen=True)
class Subject:
    """A model, as far as plans depend on it. Times are in seconds; ``scored`` and ``gradients`` of one token.

    ``width``: that of an MLP, None if blocks cannot be taken apart. ``heads``: whether they can be removed.
    ``inputs``: the mean number of inputs of a weight's layer. ``gradients``: None if there is no memory for them.
    ``one_file``: whether the result is to be a .gguf file, ``matrices`` of which have types; ``base``: another one.
    """

    blocks: int
    kinds: int
    width: int | None
    heads: bool
    inputs: float
    prunable: int
    scored: float
    gradients: float | None
    loading: float
    positions: int
    matrices: int = 0
    quantising: float = 0.0
    one_file: bool = False
    base: str | None = None


class Recipe(ABC):
    """A goal, under the option that names it, and the ``value`` that was given for it."""

    option: ClassVar[str]
    metavar: ClassVar[str]
    help: ClassVar[str]

    def __init__(self, value: float) -> None:
        self.value = value

    @classmethod
    @abstractmethod
    def read(cls, text: str) -> float:
        """Return the number in ``text``. Raises :class:`evoprune.InputError`."""

    def needs_gradients(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        """Return True if calibration takes gradients."""
        return False

    def setup_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Seconds before the search, beside calibration."""
        return 0.0

    def update_seconds(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Seconds to update a model's weights, beside passes over the calibration text; 0 if none are updated."""
        return 0.0

    def cheaper(self) -> Recipe | None:
        """Return a way to the same goal that takes less time, if there is one."""
        return None

    @abstractmethod
    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """Return the fewest evaluations with which the search is of use, and the most that it makes."""

    @abstractmethod
    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Return ``problem``, without model and texts, and ``operators``."""


def share(text: str, option: str) -> float:
    """Return a share such as ``0.45`` or ``45%``. Raises :class:`evoprune.InputError`."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(%?)", text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not found or not 0 < value < 1:
        guess = f"; did you mean {text.strip()}%?" if found and not found[2] and 1 < value < 100 else ""
        raise InputError(f"expected a share between 0 and 1, such as 0.45 or 45%, got '{text}'{guess}", option)
    return value


def additive(screening: float) -> Json:
    """Return the operators that measure the cost of each level on the share ``screening`` of the windows."""
    return {"algorithm": {"use": "additive", "screening": screening}, "repair": "shift"}


def narrower(subject: Subject, budget: Json) -> Json:
    """Return an experiment that removes heads and channels, as ``problems/smollm2_structure.yaml``.

    Compensated widths cost the least quality (docs/structure.md). Heads stay if the model's code does not run with
    fewer. Raises :class:`evoprune.InputError` for a model whose blocks cannot be taken apart.
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
            "transforms": [*heads, {"use": "channels", "step": channel_step(subject.width), **units}],
            "budget": budget,
        },
        "operators": {
            "algorithm": "equal_marginals",
            "mutate": {"use": "exchange", "moves": 3},
            "repair": "shift",
        },
    }


def channel_step(width: int) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it."""
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = [size for size in fitting if size % _LEAST_STEP == 0] or fitting
    return min(whole, key=lambda size: abs(size - width / _LEVELS))
