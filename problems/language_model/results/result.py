"""The typed result of a search on a language model, ``result.json``; the facts of an export repeat most keys.

Imports no torch. A perplexity is None if it is infinite or was not measured.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from evoprune import Fraction, Result
from evoprune.plugins import EVOLVED

USABLE = 4.0
"""A model is unusable above so many times the source's perplexity on the report text: two bits a token more."""

PERPLEXITY, DIVERGENCE = "held_out", "held_out_divergence"
"""Keys of a point of a learning curve; if it has a divergence, this decides which point is the best."""


class ResultPart(BaseModel, extra="allow", allow_inf_nan=False, frozen=True, protected_namespaces=()):
    """Base of the parts of a result; undeclared keys are preserved."""


class Scores(ResultPart):
    """Perplexities of the dense, the uniform and the evolved model on one text."""

    dense: float | None = None
    uniform: float | None = None
    evolved: float | None

    @property
    def measured(self) -> dict[str, float | None]:
        """Perplexities by name, of measured models only."""
        return self.model_dump(exclude_unset=True)


class Perplexities(ResultPart):
    """Perplexities by text; ``reconstructed``: with updates of the remaining weights."""

    search: Scores
    report: Scores
    search_reconstructed: Scores | None = None
    report_reconstructed: Scores | None = None

    @property
    def exported(self) -> Scores:
        """Perplexities on the report text, with updates of weights where there are any, as an export has them."""
        updated = self.report_reconstructed.measured if self.report_reconstructed else {}
        return Scores(**self.report.measured | updated)


class Shares(ResultPart):
    """Weights that are zero or removed: share of the prunable weights, and of the whole model."""

    prunable: Fraction
    model: Fraction


class Pair(ResultPart):
    """An amount for the dense and for the evolved model."""

    dense: int | float = Field(ge=0)
    evolved: int | float = Field(ge=0)


class Times(Pair):
    """Milliseconds of a pass, measured, and for the evolved model as predicted in the search."""

    predicted: float


class Cost(ResultPart):
    """Amounts of the dense and the evolved model, by unit."""

    parameters: Pair
    bytes: Pair
    bits_per_weight: Pair
    milliseconds: Times | None = None

    @property
    def savings(self) -> dict[str, float]:
        """Share that the evolved model saves, by unit, for units in which it is smaller."""
        units = self.model_dump(exclude_none=True)
        return {unit: 1 - of["evolved"] / of["dense"] for unit, of in units.items() if of["evolved"] < of["dense"]}


class Text(ResultPart):
    """The protocol of a text.

    ``predictions``: number of scored tokens; ``bytes``: their bytes. ``begin``: the first token of each window.
    """

    source: str
    window: int = Field(ge=2)
    windows: int = Field(ge=1)
    predictions: int = Field(ge=1)
    begin: str | None = None
    bytes: int | None = Field(None, ge=1)
    sha256: str

    def bits_per_byte(self, perplexity: float | None) -> float | None:
        """Return the loss of the scored tokens in bits, divided by their bytes."""
        if perplexity is None or self.bytes is None:
            return None
        return self.predictions * math.log2(perplexity) / self.bytes

    @property
    def name(self) -> str:
        """The last part of the source: no path of a machine."""
        return self.source.rsplit("/", 1)[-1]


class SecondText(ResultPart):
    """Bits per byte of another text, by model, before training."""

    text: Text
    bits_per_byte: Mapping[str, float | None]


class Goal(ResultPart):
    """The goal of a run, and its result in the same unit.

    ``unit``: such as ``bytes``. ``share``: True if the numbers are removed shares of the dense model's amount.
    ``whole``: number of tokens of the dense model.
    """

    unit: str
    wanted: float
    got: float
    share: bool = False
    whole: float | None = None


class RecoveryProtocol(ResultPart):
    """``text``: to train on. ``held_out_dense``: the dense model's perplexity on the held-out windows."""

    text: Mapping[str, Any] = {}
    held_out_dense: float | None = None


class Protocol(ResultPart):
    """The protocol of the measurements. ``objective``: of the search and of the finals.

    ``source_bytes``: of the weight files of the dense model; None if they are not on this machine.
    """

    model: str
    source_bytes: int | None = None
    weights_sha256: str
    dtype: str
    device: str
    search_text: Text
    report_text: Text
    reconstruct: str | None = None
    milliseconds: str | None = None
    objective: str = "perplexity"
    recovery: RecoveryProtocol | None = None


class RecoveredRow(ResultPart):
    """A recovered model, before and after; ``divergence``: from the dense model, in nats a token.

    ``behind_dense``: nats a token behind the dense model trained alike. ``decided``: the criterion on held-out windows
    before and after; ``helped``: it is lower after. ``accuracy_after``: on a task file.
    """

    perplexity_before: float | None
    perplexity_after: float | None
    divergence_before: float | None
    divergence_after: float | None
    accuracy_after: float | None = None
    behind_dense: float | None = None
    helped: bool
    decided: tuple[float | None, float | None]
    tokens: int
    minutes: float
    trained: str
    schedule: tuple[int, ...] = ()
    """See ``recover.schedule``."""
    curve: tuple[Mapping[str, Any], ...] = Field(min_length=1)


class ResultFacts(BaseModel, extra="allow", allow_inf_nan=False, protected_namespaces=()):
    """Common keys of a result and the facts of an export."""

    asked: Goal | None = None
    sparsity: Shares | None = None
    """None where matrices have types."""
    by_matrix: Mapping[str, Fraction] | None = None
    """Removed share of the weights of each matrix; None where matrices have types."""
    cost: Cost
    perplexity: Perplexities
    bits_per_byte: Mapping[str, float | None] | None = None
    """See :attr:`final_bits_per_byte`."""
    gap_closed: float | None = None
    gap_closed_search: float | None = None
    chosen: str | None = None
    notes: tuple[str, ...] | None = None
    accuracy: Mapping[str, float] | None = None
    """Shares of the lines of a task file, see :attr:`final_accuracy`."""
    second: tuple[SecondText, ...] | None = None
    recovered: dict[str, RecoveredRow] | None = None
    untrained: str | None = None
    """Reason why a run with a limit of time did not train its result."""
    protocol: Protocol
    baseline: str | None = None
    """Name of a baseline, which no run found."""

    def export_keys(self) -> dict[str, Any]:
        """Return the keys that the facts of an export repeat; an export counts its own sparsities."""
        keys = [key for key in ResultFacts.model_fields if key != "sparsity"]
        values = dict.fromkeys(keys) | self.model_dump(mode="json", include=set(keys), exclude_unset=True)
        return values | {"bits_per_byte": self.final_bits_per_byte}

    @property
    def improved(self) -> dict[str, RecoveredRow]:
        """The smaller models that a recovery helped, by name."""
        return {name: row for name, row in (self.recovered or {}).items() if row.helped and name != "dense"}

    @property
    def final_perplexities(self) -> dict[str, float | None]:
        """Perplexities of the models on the report text, after recovery where it helped, by name."""
        before = self.perplexity.exported.measured
        return before | {name: row.perplexity_after for name, row in self.improved.items() if name in before}

    @property
    def final_bits_per_byte(self) -> dict[str, float | None]:
        """Bits per byte of the report text for :attr:`final_perplexities`."""
        text = self.protocol.report_text
        return {name: text.bits_per_byte(perplexity) for name, perplexity in self.final_perplexities.items()}

    def unusable_factor(self, perplexity: float | None) -> float:
        """Return ``perplexity`` on the report text, divided by the source's, if above :data:`USABLE`, else 0."""
        times = (math.inf if perplexity is None else perplexity) / (self.final_perplexities.get("dense") or math.inf)
        return times if times > USABLE else 0.0

    @property
    def final_accuracy(self) -> dict[str, float]:
        """Accuracies on the report text, a task file, after recovery where it helped, by name; otherwise empty."""
        after = {name: row.accuracy_after for name, row in self.improved.items() if row.accuracy_after is not None}
        return {name: after.get(name, before) for name, before in (self.accuracy or {}).items()}

    @property
    def is_smaller(self) -> bool:
        return "parameters" in self.cost.savings

    @property
    def winner(self) -> str:
        """The name of the winner of the finals: :data:`EVOLVED`, or a known solution."""
        return self.chosen or EVOLVED


class LanguageModelResult(ResultFacts, Result):
    """The result of a search on a language model."""

    @property
    def final_perplexity(self) -> float | None:
        return self.recovered[EVOLVED].perplexity_after if self.recovered else self.perplexity.exported.evolved


def gap_closed(dense: float | None, uniform: float | None, evolved: float | None) -> float | None:
    """Return the share of the gap in log-perplexity between uniform and dense that evolved closes; None for no gap."""
    if dense is None or uniform is None or evolved is None or uniform <= dense:
        return None
    return math.log(uniform / evolved) / math.log(uniform / dense)


def criterion(curve: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the quantity that decides which point of a learning ``curve`` is the best."""
    return "divergence" if DIVERGENCE in curve[0] else "perplexity"


def criterion_values(curve: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the criterion at each point, to be minimised; NaN is infinite."""
    values = [point[DIVERGENCE if DIVERGENCE in curve[0] else PERPLEXITY] for point in curve]
    return [math.inf if value is None or math.isnan(value) else value for value in values]
