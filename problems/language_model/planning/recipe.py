"""A goal of the command ``prune``, and how to make a model narrower. Imports no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from evoprune import InputError
from evoprune.problems.language_model.gguf import ggml
from evoprune.problems.language_model.gguf.sources import BLOCKS, ONE_WIDTH

Json = dict[str, Any]

SCREENING = 0.125  # share of the windows that the cost of a level is measured on
_PROBES = 2.5  # models for the costs of a block: one for each kind, and more for costly ones
_ROUNDS = (2, 60)  # evaluations beside these, at least and at most: the first child is nearly the result
_CHILDREN = 6  # that are screened in a generation
_DROPPED = 0.4  # share of the parameters beyond which whole attentions and MLPs may go, whose costs take as long again
_RATE = 3e-3  # for all weights, times their size and the share that is removed (docs/recovery.md)
_WIDTHS, _LEAST_STEP = 12, 32  # widths of an MLP that are tried, about; channels of a step, as the transform demands


@dataclass(frozen=True)
class Subject:
    """A model, as far as plans depend on it. Times are in seconds; ``scored`` and ``gradients`` of one token.

    ``width``: that of an MLP, None if blocks cannot be taken apart. ``heads``: whether they can be removed.
    ``experts``: how many a block of a mixture can lose; 0 for any other model.
    ``inputs``: the mean number of inputs of a weight's layer. ``weight_size``: the root mean square of weights, which
    rates are shares of (Shazeer and Stern, "Adafactor", ICML 2018, section 8). ``gradients``: None if there is no
    memory for them.
    ``one_file``: whether the result is to be a .gguf file; ``base``: another one; ``widths``: how many of its weights
    have rows of each length, in matrices that have types; ``kinds_of_source``: the types that these have in the source,
    and ``by_kind`` their ``widths`` by these, if it is a .gguf file.
    ``form``: of blocks in a .gguf file, see :func:`evoprune.problems.language_model.gguf.sources.cuts_of`; ``least``:
    about the bytes of the smallest one of all weights. ``trainable``: whether the packages that train a result are
    there; ``roomy``: whether there is memory to train all weights. ``slowness``: seconds for each one of the processor,
    which others may use, too.
    """

    blocks: int
    kinds: int
    width: int | None
    heads: bool
    inputs: float
    weight_size: float
    prunable: int
    scored: float
    gradients: float | None
    loading: float
    positions: int
    experts: int = 0
    widths: Mapping[int, int] = field(default_factory=dict)
    kinds_of_source: Sequence[str] = ()
    by_kind: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    one_file: bool = False
    form: str = BLOCKS
    least: float = 0.0
    trainable: bool = False
    roomy: bool = False
    threads: int = 1
    slowness: float = 1.0
    base: str | None = None

    def rate(self, share: float) -> float:
        """Return the rate that is ``share`` of the size of weights, in two digits."""
        return float(f"{share * self.weight_size:.1e}")

    @property
    def quantised(self) -> frozenset[str]:
        """The quantised types of the source that a .gguf file may keep; none for a folder."""
        return frozenset(self.kinds_of_source) - ggml.FLOATS if self.one_file else frozenset()


class Recipe(ABC):
    """A goal, under the option that names it, and the ``value`` that was given for it."""

    option: ClassVar[str]
    example: ClassVar[str]
    metavar: ClassVar[str] = "SHARE"
    help: ClassVar[str]
    narrows: ClassVar[bool] = False  # whether heads and channels, or experts, are removed, also of a .gguf file
    differentiates: ClassVar[bool] = False  # whether gradients of all weights may be needed

    def __init__(self, value: float) -> None:
        self.value = value

    def removed(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Return about the share of the blocks' parameters that are removed, if some are."""
        return 0.0

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
        """Seconds before the search, beside passes over the calibration text."""
        return 0.0

    def cuts(self, subject: Subject) -> bool:  # noqa: ARG002 - a default
        """Return whether heads and channels, or experts, are removed."""
        return self.narrows

    def types(self, subject: Subject) -> Sequence[str]:  # noqa: ARG002 - a default
        """Return the types of GGUF that the search chooses from, beside those of the source."""
        return ()

    def cached_bytes(self, subject: Subject) -> float:  # noqa: ARG002 - a default
        """Bytes of matrices in types that are cached on disk, at most."""
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

    def recovery(self, subject: Subject, compensated: bool) -> Json:
        """Return how the result is trained. ``compensated``: whether its codes may be found anew before."""
        if not self.cuts(subject):
            return {"train": "scales", "keep_codes": not compensated}
        rate = subject.rate(_RATE * self.removed(subject))
        how = {"train": "all", "rate": rate} if subject.roomy else {"train": "scales"}
        return how | {"cross_entropy": 0, "batch": 1}

    @abstractmethod
    def experiment(self, subject: Subject, evaluations: float) -> Json:
        """Return ``problem``, without model and texts, and ``operators``."""


def narrower(subject: Subject, budget: Json, removed: float, types: Sequence[str] = ()) -> Json:
    """Return an experiment that removes heads and channels, as ``problems/smollm2_structure.yaml``, or experts.

    ``removed``: about the share of the blocks' parameters. Heads stay if the model's code does not run with fewer. A
    .gguf file of a quantised one has the types of this, or smaller ones of ``types``, as in
    ``problems/smollm2_joint.yaml``; where its blocks must be alike, whole ones go, and as many channels of each. Raises
    :class:`evoprune.InputError` for a model whose blocks cannot be taken apart.
    """
    own = subject.quantised
    typed: list[Json] = []
    if own:
        typed = [{"use": "types", "types": [*types], "from_source": True}]
    elif types:
        typed = [{"use": "types", "types": [*types], "base": subject.base}]
    problem: Json = {"use": "language_model", "objective": "kl", "budget": budget}
    if subject.experts:
        problem["transforms"] = [{"use": "experts", "genes": "model" if subject.one_file else "block"}, *typed]
        return {"problem": problem, "operators": {"algorithm": {"use": "greedy", "screening": 0.25}, "repair": "shift"}}
    if subject.width is None:
        raise InputError("this model cannot be made narrower; give --sparsity, or --size with --out FILE.gguf", "prune")
    units: Json = {"score": "structured_obs", "compensate": True}
    if subject.one_file and (removed < _DROPPED or subject.form != BLOCKS):
        units["drop"] = False
    others: list[Json] = [{"use": "heads", **units}] if subject.heads else []
    if subject.one_file and subject.form != BLOCKS:
        units["genes"] = "model"
        others = [{"use": "sublayers", "genes": "block"}] if subject.form == ONE_WIDTH else []
    step = channel_step(subject.width, max(map(ggml.block_size, own | {*types}), default=_LEAST_STEP))
    problem["transforms"] = [*others, {"use": "channels", "step": step, **units}, *typed]
    mutate = {"use": "exchange", "moves": 3}
    return {
        "problem": problem,
        "operators": {"algorithm": "equal_marginals", "mutate": mutate, "repair": "shift"},
    }


def channel_step(width: int, block: int = _LEAST_STEP) -> int:
    """Return the divisor of ``width``, that of an MLP, that is nearest to a twelfth of it.

    A multiple of ``block`` or else of 32, if some is.
    """
    fitting = [size for size in range(_LEAST_STEP, width + 1) if width % size == 0]
    whole = next(
        (found for of in (block, _LEAST_STEP) if (found := [size for size in fitting if size % of == 0])), fitting
    )
    return min(whole, key=lambda size: abs(size - width / _WIDTHS))


def evaluations_of_cuts(subject: Subject) -> tuple[float, float]:
    """Return the fewest evaluations for the costs of cuts, of which harms tell most; and the most."""
    costs = SCREENING * (subject.experts or _PROBES * subject.blocks)
    return costs + _ROUNDS[0], costs + _ROUNDS[1]


def additive(cuts: bool = False) -> Json:
    """Operators that measure the cost of each level on a share of the windows.

    ``cuts``: with small generations, as each child is refitted and quantised.
    """
    small = {"offspring": _CHILDREN, "survivors": 1} if cuts else {}
    return {"algorithm": {"use": "additive", "screening": SCREENING, **small}, "repair": "shift"}
