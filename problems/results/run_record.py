"""The parts of a run's ``result.json`` that an export needs, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from evoprune import Fraction, InputError
from problems.results.result import EVOLVED


class _Record(BaseModel, extra="allow", allow_inf_nan=False, frozen=True):
    pass


class Three(_Record):
    """Perplexities; None if infinite or not measured."""

    dense: float | None = None
    uniform: float | None = None
    evolved: float | None


class Texts(_Record):
    """Perplexities on both texts, and with the remaining weights updated if the run did that."""

    search: Three
    report: Three
    search_reconstructed: Three | None = None
    report_reconstructed: Three | None = None


class Text(_Record):
    """The protocol of one text."""

    source: str
    window: int = Field(ge=2)
    windows: int = Field(ge=1)
    begin: str | None = None
    sha256: str


class Recovery(_Record):
    """The protocol of a recovery: ``held_out_dense`` is the dense model's perplexity on the held-out windows."""

    held_out_dense: float | None = None


class Protocol(_Record):
    """How perplexities were measured."""

    model: str
    revision: str | None = None
    weights_sha256: str
    dtype: str
    device: str
    search_text: Text
    report_text: Text
    recovery: Recovery | None = None


class Shares(_Record):
    """Zeros as a share of the prunable weights, and of the whole model."""

    prunable: Fraction
    model: Fraction


class Pair(_Record):
    """A number of the dense model, and of the evolved one."""

    dense: int = Field(ge=1)
    evolved: int = Field(ge=0)


class Cost(_Record):
    """What the models store."""

    parameters: Pair
    bytes: Pair


class Point(_Record):
    """A measurement of a recovery: the tokens trained on by then, and the perplexity on held-out windows."""

    tokens: int
    held_out: float | None


class RecoveredRow(_Record):
    """A recovered model: see :data:`problems.distillation.recover.Row`."""

    perplexity_before: float | None
    perplexity_after: float | None
    divergence_before: float | None
    divergence_after: float | None
    behind_dense: float | None = None
    tokens: int
    minutes: float
    trained: str
    curve: tuple[Point, ...] = Field(min_length=1)


class RunRecord(_Record):
    """A run's result."""

    sparsity: Shares
    cost: Cost | None = None
    perplexity: Texts
    gap_closed: float | None
    recovered: dict[str, RecoveredRow] | None = None
    chosen: str = EVOLVED
    rival: str | None = None
    """What it is, where no run found it: another solution, to compare with."""
    protocol: Protocol
    seed: int

    @property
    def final_perplexity(self) -> float | None:
        """Perplexity of the final model on the report text."""
        if self.recovered:
            return self.recovered[EVOLVED].perplexity_after
        return (self.perplexity.report_reconstructed or self.perplexity.report).evolved


def run_record(result: Mapping[str, Any]) -> RunRecord:
    """``result`` checked. Raises :class:`evoprune.InputError`."""
    try:
        return RunRecord.model_validate(result)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise InputError(lines, "result.json") from None
