"""The budget in milliseconds, measured on the machine of the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from evoprune import Coupled, InputError
from evoprune.plugins import Checked, read_json
from evoprune.problems.language_model.budgets import MeasuredBudget, ReportedBudget
from evoprune.problems.language_model.budgets.latency import compare_latency, latency_terms, measure_savings
from evoprune.problems.language_model.models.throughput import Load, Phase
from evoprune.problems.language_model.transforms.stack import Stack

_SECONDS = 10.0  # for timing the dense model and the result in turn


class Times(Checked):
    """The latency of a pass, and the circumstances of the measurement.

    ``dense``: milliseconds of the dense model. ``genes``: by a gene's name, the change by each level, at most 0.
    ``circumstances``: the times are valid for a run with equal circumstances.
    """

    circumstances: dict[str, str | int]
    dense: float = Field(gt=0)
    genes: dict[str, dict[str, Annotated[float, Field(le=0)]]]


class LatencyBudget(Coupled, ReportedBudget):
    """The latency of a pass of ``load``, predicted from the savings of genes; the limit is ``dense / speedup``."""

    def __init__(self, transform: Stack, times: Times, load: Load, speedup: float) -> None:
        changes = [[times.genes[gene.name][str(level)] for level in gene.levels] for gene in transform.genes]
        limit = times.dense / speedup
        super().__init__(
            transform.genes, latency_terms(transform, changes), limit, "milliseconds", lambda _: times.dense
        )
        self.load, self.speedup, self.description = load, speedup, f"{load} in {times.circumstances['runtime']}"
        if self.least > limit:
            raise InputError(
                f"a speed-up of {speedup:g}x is out of reach: the fastest model that the transforms can make takes "
                f"{self.least:.3g} ms of the dense model's {times.dense:.3g}; at most {times.dense / self.least:.2f}x",
                "problem.budget.speedup",
            )

    def cost(self, transform: Stack, best: Sequence[float]) -> Mapping[str, float]:
        """As :meth:`ReportedBudget.cost`, with the latency ``predicted`` by the budget and the demanded ``speedup``."""
        dense, evolved = compare_latency(transform, best, self.load, _SECONDS)
        predicted = self.spent(best)
        times = {"dense": dense, "evolved": evolved, "measured": evolved}
        return times | {"predicted": predicted, "speedup": self.speedup}


class Milliseconds(MeasuredBudget):
    """Limit the latency of a pass on the machine of the run, by a speed-up over the dense model."""

    speedup: float = Field(ge=1, description="how many times as fast as the dense model, at least")
    phase: Phase = Field("decode", description="decode: one token after others; prefill: a prompt at once")
    batch: int = Field(1, ge=1, description="sequences at once")
    length: int = Field(512, ge=1, description="tokens of a prompt, or before the one that is decoded")
    seconds: float = Field(8.0, ge=0, description="how long each level is timed; three rounds if these take longer")
    table: str | None = Field(None, description="measured.json of a run on this machine; null measures anew")

    def measure(self, transform: Stack) -> Mapping[str, Any]:
        if self.table is not None:
            return read_json(Path(self.table).expanduser())
        if transform.facts.sparse:
            raise InputError("zeros save no time: choose transforms that make matrices smaller", "problem.budget")
        bare = transform.bare()
        dense, changes = measure_savings(bare, self._load, self.seconds)
        genes = {
            gene.name: dict(zip(map(str, gene.levels), changed, strict=True))
            for gene, changed in zip(bare.genes, changes, strict=True)
        }
        return Times(circumstances=self._circumstances(transform), dense=dense, genes=genes).model_dump()

    def settle(self, transform: Stack, facts: Mapping[str, Any]) -> None:
        try:
            transform.use_times(self._times(facts).genes)
        except ValueError:
            why = "its times are of other genes or levels than those of problem.transforms"
            raise InputError(why, self._source) from None

    def budget(self, transform: Stack, facts: Mapping[str, Any]) -> LatencyBudget:
        times = self._times(facts)
        for name, now in self._circumstances(transform).items():
            if (then := times.circumstances.get(name)) != now:
                raise InputError(f"its times were measured with {name} {then}, this run has {now}", self._source)
        return LatencyBudget(transform, times, self._load, self.speedup)

    @property
    def _load(self) -> Load:
        return Load(self.phase, self.batch, self.length)

    @property
    def _source(self) -> str:
        return self.table or "measured.json"

    def _times(self, facts: Mapping[str, Any]) -> Times:
        try:
            return Times.model_validate(facts)
        except ValidationError as error:
            where, why = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
            raise InputError(f"holds no times that evoprune measured: {where}: {why}", self._source) from None

    def _circumstances(self, transform: Stack) -> dict[str, str | int]:
        of_load = {"phase": self.phase, "batch": self.batch, "length": self.length}
        shapes = {"shapes": transform.resident.shapes_sha256}
        return {**transform.costs.timer(self._load).circumstances(), **of_load, **shapes}
