"""What a goal of the command ``prune`` says: its option, how its number is read, and which experiment reaches it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from evoprune import InputError

if TYPE_CHECKING:  # it imports torch, which --help should not wait for
    from problems.planning.subject import Subject

Json = dict[str, Any]


class Recipe(ABC):
    """A goal, under the option that names it."""

    option: ClassVar[str]
    metavar: ClassVar[str]
    help: ClassVar[str]

    def __init__(self, value: float) -> None:
        """``value``: the number that was given for it, read."""
        self.value = value

    @classmethod
    @abstractmethod
    def read(cls, text: str) -> float:
        """The number in ``text``. Raises :class:`evoprune.InputError`."""

    def with_gradients(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        """Whether its statistics are of gradients, too."""
        return False

    def seconds_before(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """What is measured or made before the search takes, beside calibration."""
        return 0.0

    def cheaper(self) -> Recipe | None:
        """A way to the same goal that takes less time; None if there is none."""
        return None

    def seconds_solving(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """What updates of the weights of a model take, beside runs over the calibration text; 0: there are none."""
        return 0.0

    @abstractmethod
    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """How many models must be scored at least, so that the search can do something, and are scored at most."""

    @abstractmethod
    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """``problem``, without model and texts, and ``operators``."""


def share(text: str, option: str) -> float:
    """A share such as ``0.45`` or ``45%``. Raises :class:`evoprune.InputError`."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(%?)", text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not found or not 0 < value < 1:
        guess = f"; did you mean {text.strip()}%?" if found and not found[2] and 1 < value < 100 else ""
        raise InputError(f"expected a share between 0 and 1, such as 0.45 or 45%, got '{text}'{guess}", option)
    return value
