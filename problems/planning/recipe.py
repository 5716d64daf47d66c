"""A goal of the command ``prune``, and how to make a model narrower. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evoprune import InputError

Json = dict[str, Any]

SCREENING = 0.125  # share of the windows that the cost of a level is measured on
_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands


@dataclass(frozen=True)
class Subject:
    """A model, as far as plans depend on it. Times are in seconds; ``scored`` and ``gradients`` of one token.

    ``width``: that of an MLP, None if blocks cannot be taken apart. ``heads``: whether they can be removed.
    ``inputs``: the mean number of inputs of a weight's layer. ``gradients``: None if there is no memory for them.
    ``one_file``: whether the result is to be a .gguf file; ``base``: another one; ``widths``: how many of its weights
    have rows of each length, in matrices that have types; ``kinds_of_source``: the types that these have in the source.
    ``trainable``: whether the packages that train a result are there.
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
    widths: Mapping[int, int] = field(default_factory=dict)
    kinds_of_source: Sequence[str] = ()
    one_file: bool = False
    trainable: bool = False
    base: str | None = None


class Recipe(ABC):
    """A goal, under the option that names it, and the ``value`` that was given for it."""

    option: ClassVar[str]
    example: ClassVar[str]
    metavar: ClassVar[str] = "SHARE"
    help: ClassVar[str]
    narrows: ClassVar[bool] = False  # whether each block gets widths of its own, also in a .gguf file
    differentiates: ClassVar[bool] = False  # whether gradients of all weights may be needed

    def __init__(self, value: float) -> None:
        self.value = value

    @classmethod
    def read(cls, text: str) -> float:
        """Return the number in ``text``, a share such as ``0.45`` or ``45%``. Raises :class:`evoprune.InputError`."""
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(%?)", text.strip())
        value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
        if not found or not 0 < value < 1:
            guess = f"; did you mean {text.strip()}%?" if found and not found[2] and 1 < value < 100 else ""
            raise InputError(f"expected a share between 0 and 1, such as 0.45 or 45%, got '{text}'{guess}", cls.option)
        return value

    def needs_gradients(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
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

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002 - a default
        """Return the fewest evaluations with which the search is of use, and the most: here of heads and channels."""
        return 24, 110

    @abstractmethod
    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Return ``problem``, without model and texts, and ``operators``."""


def narrower(subject: Subject, budget: Json) -> Json:
    """Return an experiment that removes heads and channels, as ``problems/smollm2_structure.yaml``.

    Heads stay if the model's code does not run with fewer. Raises :class:`evoprune.InputError` for a model whose blocks
    cannot be taken apart.
    """
    if subject.width is None:
        raise InputError("this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune")
    units = {"score": "structured_obs", "compensate": True}
    heads = [{"use": "heads", **units}] if subject.heads else []
    return {
        "problem": {
            "use": "language_model",
            "objective": "kl",
            "transforms": [*heads, {"use": "channels", "step": channel_step(subject.width), **units}],
            "budget": budget,
        },
        "operators": {"algorithm": "equal_marginals", "mutate": {"use": "exchange", "moves": 3}, "repair": "shift"},
    }


def channel_step(width: int) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it."""
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = [size for size in fitting if size % _LEAST_STEP == 0] or fitting
    return min(whole, key=lambda size: abs(size - width / _WIDTHS))


def additive() -> Json:
    """Operators that measure the cost of each level on a share of the windows."""
    return {"algorithm": {"use": "additive", "screening": SCREENING}, "repair": "shift"}
