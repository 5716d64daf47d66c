"""A file of at most some bytes: a type for each matrix in a .gguf file, else fewer heads and channels."""

from __future__ import annotations

import re

from evoprune import InputError
from problems.planning.recipe import STRUCTURE_EVALUATIONS, Json, Recipe, Subject, additive, narrower

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SCREENING = 0.125  # share of the windows that the cost of a matrix's types is measured on
_ROUNDS = (10, 90)  # evaluations after the costs are known, at least and at most


class Goal(Recipe):
    """Types of GGUF, or heads and channels, under a budget of bytes."""

    option, metavar = "--size", "BYTES"
    help = "make the weights no larger, as in 80MB: types of matrices for --out FILE.gguf, else fewer heads, channels"

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*([A-Za-z]*)", text.strip())
        units = {unit.lower(): factor for unit, factor in _UNITS.items()}
        if not found or found[2].lower() not in units or not float(found[1]):
            raise InputError(f"expected a size with one of {', '.join(_UNITS)}, such as 80MB, got '{text}'", cls.option)
        return float(round(float(found[1]) * units[found[2].lower()]))

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        budget = {"use": "bytes", "at_most": int(self.value)}
        if not subject.one_file:
            return narrower(subject, budget)
        types = {"use": "types", "base": subject.base}
        problem = {"use": "language_model", "objective": "kl", "transforms": types, "budget": budget}
        return {"problem": problem, "operators": additive(_SCREENING)}

    def setup_seconds(self, subject: Subject) -> float:
        """Seconds to quantise."""
        return subject.quantising

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """A part of one for each matrix, and some rounds."""
        if not subject.one_file:
            return STRUCTURE_EVALUATIONS
        costs = _SCREENING * subject.matrices
        return costs + _ROUNDS[0], costs + _ROUNDS[1]
