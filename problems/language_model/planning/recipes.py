"""Goals of the command ``prune``: the option of each, and the experiment that reaches it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evoprune import InputError
from evoprune.problems.language_model.calibration import SOLVING
from evoprune.problems.language_model.gguf.sources import BLOCKS
from evoprune.problems.language_model.planning.fits import Fits
from evoprune.problems.language_model.planning.recipe import (
    SCREENING,
    Json,
    Recipe,
    Subject,
    additive,
    evaluations_of_cuts,
    narrower,
)
from evoprune.problems.language_model.planning.sizes import OF_TYPES, Bits, Size, quantising_seconds, retyped, shrinking

_ROUNDS = (10, 90)  # evaluations after the costs of levels are known, at least and at most
_PROBED = 0.25  # the same for sparsities
_LEVELS = 15  # widths and numbers of heads of a block, about
_TIMED, _SHORT = 8.0, 2.0  # seconds that each level is timed, and in a short time
_MODELS = 19  # that are timed at most: nine with other widths of MLPs, nine with other heads, and the smallest
_PROCESSES = {_TIMED: 6, _SHORT: 2}  # that time a level of a file
_STARTED = 0.7  # seconds that one takes to start; it reads what comes before the token that is timed, in two models
_QUICK = ("Q8_0", "Q6_K", "Q4_K", "Q4_0", "IQ4_NL")  # types that llama.cpp multiplies fast
_SLOWLY_MADE = ("Q4_K", "IQ4_NL")
_SURE = 1.05  # times as many bits fewer as times as fast
_LENGTHS = {_TIMED: 256, _SHORT: 64}  # tokens before the one that is timed


class Remove(Recipe):
    """Heads and channels under a budget of parameters."""

    option, example, narrows = "--remove", "25%", True
    help = "remove a share of the blocks' parameters, as in 25%%: fewer heads and channels, or experts"

    def removed(self, subject: Subject) -> float:  # noqa: ARG002 - asked for
        return self.value

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        return evaluations_of_cuts(subject) if subject.one_file else super().evaluations(subject)

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        made = narrower(subject, {"use": "parameters", "removed": self.value}, self.value)
        return made | ({"operators": additive(cuts=True)} if subject.one_file else {})


class Sparsity(Recipe):
    """As ``problems/smollm2_best.yaml``: GBLM, equal marginal costs, least squares, or a cheaper update."""

    option, example = "--sparsity", "0.5"
    help = "set a share of the weights to zero, as in 0.5 or 50%%"
    differentiates = True

    def __init__(self, value: float, update: str = "least_squares") -> None:
        super().__init__(value)
        self._update = update

    def needs_gradients(self, subject: Subject) -> bool:
        """If there is memory for them; else the score reads activations alone."""
        return subject.gradients is not None

    def update_seconds(self, subject: Subject) -> float:
        return SOLVING[self._update] * subject.inputs * subject.scored

    def cheaper(self) -> Recipe | None:
        left = list(SOLVING)[list(SOLVING).index(self._update) + 1 :]
        return Sparsity(self.value, left[0]) if left else None

    def evaluations(self, subject: Subject) -> tuple[float, float]:  # noqa: ARG002
        return 12, 220

    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Genes for blocks and for kinds of matrix, if measuring the cost of each leaves most of the search."""
        if subject.experts:
            raise InputError("weights of experts are not set to zero yet: give --size or --remove", self.option)
        probes = _PROBED * (subject.blocks + subject.kinds)
        return {
            "problem": {
                "use": "pruning",
                "sparsity": self.value,
                "score": "gblm" if self.needs_gradients(subject) else "wanda",
                "genes": "block_and_kind" if 3 * probes <= evaluations else "block",
                "reconstruct": self._update,
                "curve": [],
            },
            "operators": {
                "algorithm": {"use": "equal_marginals", "probe": 0.08, "screening": _PROBED},
                "mutate": {"use": "exchange", "step": 0.1, "moves": 3},
                "repair": "shift",
            },
        }


class Speedup(Recipe):
    """Heads and channels, and in a .gguf file types, under a budget of milliseconds."""

    option, example, metavar, narrows = "--speedup", "1.5", "TIMES", True
    help = "make decoding so many times as fast on this machine, as in 1.5: fewer heads and channels, faster types"

    def __init__(self, value: float, timed: float = _TIMED) -> None:
        super().__init__(value)
        self._timed = timed

    @classmethod
    def read(cls, text: str) -> float:
        found = re.fullmatch(r"(\d+\.?\d*)\s*x?", text.strip())
        if not found or not 1 < float(found[1]) <= 100:
            raise InputError(f"expected how many times as fast, above 1, such as 1.5, got '{text}'", cls.option)
        return float(found[1])

    def cuts(self, subject: Subject) -> bool:
        """Return False where types alone are fast enough and blocks have to be alike, so that cuts lose much more."""
        alike = subject.one_file and subject.form != BLOCKS
        return not (alike and shrinking(subject, self.types(subject)) >= _SURE * self.value)

    def setup_seconds(self, subject: Subject) -> float:
        if not subject.one_file:
            return _MODELS * self._timed
        types = self.types(subject)
        quantising = quantising_seconds(types, subject.widths) / subject.threads
        reading = 2 * self._length(subject) * subject.scored / subject.slowness  # which is measured as it is
        each = self._timed + _PROCESSES[self._timed] * (_STARTED + reading)
        return ((_MODELS if self.cuts(subject) else 0) + 2 * len(types)) * each + quantising

    def types(self, subject: Subject) -> Sequence[str]:
        if not subject.quantised:
            return ()
        return [kind for kind in _QUICK if self._timed > _SHORT or kind not in _SLOWLY_MADE]

    def removed(self, subject: Subject) -> float:
        return 1 - 1 / self.value if self.cuts(subject) else 0.0

    def cheaper(self) -> Recipe | None:
        return Speedup(self.value, _SHORT) if self._timed > _SHORT else None

    def evaluations(self, subject: Subject) -> tuple[float, float]:
        """Twice the costs of all levels, as a level takes a whole window if few are searched; and some rounds."""
        if subject.one_file:
            return evaluations_of_cuts(subject) if self.cuts(subject) else OF_TYPES
        costs = 2 * SCREENING * _LEVELS * subject.blocks
        return costs + _ROUNDS[0], costs + _ROUNDS[1]

    def experiment(self, subject: Subject, evaluations: float) -> Json:  # noqa: ARG002
        """Search as is best under a limit of time (docs/structure.md)."""
        load = {"phase": "decode", "batch": 1, "length": self._length(subject), "seconds": self._timed}
        types, budget = self.types(subject), {"use": "milliseconds", "speedup": self.value, **load}
        if not self.cuts(subject):
            return retyped(subject, budget, types)
        if subject.experts:
            raise InputError("fewer experts make no token faster: give --size or --remove", self.option)
        made = narrower(subject, budget, self.removed(subject), types)
        return made | {"operators": additive(cuts=subject.one_file)}

    def _length(self, subject: Subject) -> int:
        return min(_LENGTHS[self._timed], subject.positions // 2)


RECIPES: tuple[type[Recipe], ...] = (Remove, Size, Bits, Fits, Sparsity, Speedup)
