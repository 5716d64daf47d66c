"""Goals of the command ``prune`` that need no wing. Imports no torch."""

from __future__ import annotations

from abc import abstractmethod

from evoprune import InputError
from evoprune.problems.language_model.prune.experiments import cuts, zeros
from evoprune.problems.language_model.prune.interfaces import Goal, Json, ModelFacts, Output, Setup, plain_value
from evoprune.problems.language_model.results.summary import megabytes

SHARES = {"": 1, "%": 0.01}
BYTES = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class Cutting(Goal):
    """A goal that cuts parts of the model, as far as types of fewer bits do not reach it."""

    @abstractmethod
    def limit(self, setup: Setup) -> Json:
        """Return the budget."""

    def experiment(self, setup: Setup) -> Json:
        removed, limit = self.removed(setup.facts, setup.output), self.limit(setup)
        return cuts(setup, removed, limit) if removed else setup.output.experiment(setup, limit)


class Remove(Cutting):
    """A share of the blocks' parameters is removed."""

    name = "remove"
    help = "remove a share of the blocks' parameters, as in 25%: fewer heads and channels, or experts"
    expects = "a share between 0 and 1, such as 0.45 or 45%"
    units, between = SHARES, (0, 1)

    def removed(self, facts: ModelFacts, output: Output) -> float:  # noqa: ARG002
        return self.value

    def limit(self, setup: Setup) -> Json:  # noqa: ARG002
        return {"use": "parameters", "removed": self.value}


class Size(Cutting):
    """The weights have at most so many bytes: by types in a file, unless that is near the least; else by cuts."""

    name = "size"
    help = "make the weights no larger, as in 80MB: types of matrices for --out FILE.gguf, else fewer heads, channels"
    expects = "a size in B, kB, MB, GB, KiB, MiB or GiB, such as 80MB"
    units, between = BYTES, (0, 1e15)

    @property
    def label(self) -> str:
        return plain_value(self.text) if self.name == "size" else super().label

    def file_bytes(self, weights: int) -> float:  # noqa: ARG002
        """The bytes of the wanted files, of a model with so many ``weights``."""
        return self.value

    def shown(self, size: float, weights: int) -> str:  # noqa: ARG002
        """Format files of ``size`` bytes as the goal is given."""
        return megabytes(size)

    def reached_by(self, size: float, weights: int) -> str:
        """Return a value of the option that files of ``size`` bytes reach."""
        return self.shown(size, weights)

    def removed(self, facts: ModelFacts, output: Output) -> float:
        return output.removed(self.file_bytes(output.weights), facts)

    def limit(self, setup: Setup) -> Json:  # noqa: ARG002
        return {"use": "bytes", "at_most": int(self.value)}


class Sparsity(Goal):
    """A share of the weights is set to zero."""

    name = "sparsity"
    help = "set a share of the weights to zero, as in 0.5 or 50%"
    expects = "a share between 0 and 1, such as 0.45 or 45%"
    units, between = SHARES, (0, 1)
    keeps_tokens = True

    def check(self, facts: ModelFacts, output: Output) -> None:  # noqa: ARG002
        _refuse_mixture(self, facts)

    def experiment(self, setup: Setup) -> Json:
        return zeros(setup, self.value)


class Speedup(Cutting):
    """Decoding is so many times as fast on this machine."""

    name = "speedup"
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels, faster types"
    expects = "how many times as fast, between 1 and 100, such as 1.5"
    units, between = {"": 1, "x": 1}, (1, 100)

    def check(self, facts: ModelFacts, output: Output) -> None:
        if self.removed(facts, output):
            _refuse_mixture(self, facts)
        super().check(facts, output)

    def removed(self, facts: ModelFacts, output: Output) -> float:  # noqa: ARG002
        return 0.0 if output.is_faster_by_types(self.value) else 1 - 1 / self.value

    def limit(self, setup: Setup) -> Json:
        timed = {"phase": "decode", "batch": 1, "length": setup.length, "seconds": 2.0 if setup.short else 8.0}
        return {"use": "milliseconds", "speedup": self.value, **timed}


def _refuse_mixture(goal: Goal, facts: ModelFacts) -> None:
    if facts.experts:
        raise InputError("is not for mixtures of experts: give --size or --remove", goal.option)
