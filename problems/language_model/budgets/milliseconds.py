"""The budget in milliseconds, from times that are measured on the machine of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from evoprune import Checked, Coupled, InputError
from problems.language_model.speed import Load, Phase
from problems.language_model.timing import savings
from problems.language_model.transform import Transform


class Times(Checked):
    """What ``measured.json`` holds: on what was measured, and how long a pass takes.

    ``runtime``: what ran the models, of some ``version``. ``dense``: milliseconds of the dense model. ``genes``: for
    each gene, by its name, the levels that are worth their time, and what each changes ``dense`` by, at most 0.
    ``timed``: for each gene all levels among which these were found. ``weights``, ``shapes``: hashes of the dense
    model's.
    """

    device: str
    processor: str
    threads: int
    dtype: str
    phase: Phase
    batch: int
    length: int
    shapes: str
    weights: str
    runtime: str
    version: str
    dense: float = Field(gt=0)
    timed: dict[str, list[str]] = Field(default_factory=dict)
    genes: dict[str, dict[str, Annotated[float, Field(le=0)]]]


_MAY_DIFFER = ("weights",)
"""What times are good for whatever it is; all else must be the same."""


class Milliseconds(Coupled):
    """What a pass of ``load`` takes, from what the genes save. The limit is ``dense / speedup``.

    ``of``: what the milliseconds are of, for people.

    Raises :class:`evoprune.InputError` if no genome is as fast.
    """

    def __init__(self, transform: Transform, times: Times, load: Load, speedup: float) -> None:
        terms = transform.time_terms(
            [[times.genes[gene.name][str(level)] for level in gene.levels] for gene in transform.genes]
        )
        super().__init__(transform.genes, terms, times.dense / speedup, "milliseconds", lambda _: times.dense)
        self.load, self.speedup, self.of = load, speedup, f"{load} in {times.runtime}"
        if self.least > times.dense / speedup:
            raise InputError(
                f"a speed-up of {speedup:g}x is out of reach: the fastest model that the transforms can make takes "
                f"{self.least:.3g} ms of the dense model's {times.dense:.3g}; at most {times.dense / self.least:.2f}x",
                "problem.budget.speedup",
            )


def milliseconds(
    transform: Transform,
    measured: Mapping[str, Any],
    /,
    *,
    speedup: Annotated[float, Field(ge=1, description="how many times as fast as the dense model, at least")],
    phase: Annotated[Phase, Field(description="decode: one token after others; prefill: a prompt at once")] = "decode",
    batch: Annotated[int, Field(ge=1, description="sequences at once")] = 1,
    length: Annotated[int, Field(ge=1, description="tokens of a prompt, or before the one that is decoded")] = 512,
    seconds: Annotated[  # noqa: ARG001 - measuring reads it
        float, Field(ge=0, description="how long each level is timed; three rounds if these take longer")
    ] = 8.0,
    table: Annotated[
        str | None, Field(description="measured.json of a run on this machine; null measures anew")
    ] = None,
) -> Milliseconds:
    """Make a pass at least some times as fast as the dense model's, on the machine of the run.

    ``measured``: what :func:`measure` returned, and :func:`settle` was called with. Raises
    :class:`evoprune.InputError` where that is of another machine or model.
    """
    load = Load(phase, batch, length)
    times, source = _times(measured, table)
    for name, now in _circumstances(transform, load).items():
        if name not in _MAY_DIFFER and getattr(times, name) != now:
            raise InputError(f"its times were measured with {name} {getattr(times, name)}, this run has {now}", source)
    return Milliseconds(transform, times, load, speedup)


def measure(
    transform: Transform, *, phase: Phase, batch: int, length: int, seconds: float, table: str | None, **_: Any
) -> Any:
    """The times of levels that are worth them, as a :class:`Times` of JSON: measured now, or read from ``table``."""
    if table is not None:
        return _read(Path(table).expanduser())
    if transform.sparse:
        raise InputError("zeros save no time: choose transforms that make matrices smaller", "problem.budget")
    load = Load(phase, batch, length)
    bare = transform.bare()
    dense, changes = savings(bare, load, seconds)
    found = {
        gene.name: dict(zip(map(str, gene.levels), table, strict=True))
        for gene, table in zip(bare.genes, changes, strict=True)
    }
    genes = {name: {level: found[name][level] for level in own} for name, own in transform.worth(found).items()}
    timed = {name: list(own) for name, own in found.items()}
    return Times(**_circumstances(transform, load), dense=dense, timed=timed, genes=genes).model_dump()


def settle(transform: Transform, measured: Mapping[str, Any], *, table: str | None, **_: Any) -> None:
    """Let ``transform`` have the levels that are worth their time; in each process that has it, on any machine.

    Raises :class:`evoprune.InputError` where ``measured`` is of other genes or levels.
    """
    times, source = _times(measured, table)
    levels = {name: sorted(own, key=own.__getitem__, reverse=True) for name, own in times.genes.items()}
    try:
        if levels.keys() != set(transform.genes.names):
            raise ValueError("other genes")
        transform.use_levels(levels, times.timed)
    except ValueError:
        raise InputError("its times are of other genes or levels than those of problem.transforms", source) from None


vars(milliseconds).update(measure=measure, settle=settle)


def _times(measured: Mapping[str, Any], table: str | None) -> tuple[Times, str]:
    """What was ``measured``, and the name of its file. Raises :class:`evoprune.InputError` where it is none."""
    source = table or "measured.json"
    try:
        return Times.model_validate(measured), source
    except ValidationError as error:
        where, why = ".".join(map(str, error.errors()[0]["loc"])), error.errors()[0]["msg"]
        raise InputError(f"holds no times that evoprune measured: {where}: {why}", source) from None


def _circumstances(transform: Transform, load: Load) -> dict[str, Any]:
    """What times depend on, beside the genome."""
    resident = transform.resident
    of_load = {"phase": load.phase, "batch": load.batch, "length": load.length}
    of_model = {"shapes": resident.shapes_sha256, "weights": resident.weights_sha256}
    return {**transform.clock(load).circumstances(), **of_load, **of_model}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)[:80]
        raise InputError(f"cannot be read: {reason}", str(path)) from None
    if not isinstance(facts, Mapping) or not facts:
        raise InputError("holds no times that evoprune measured", str(path))
    return facts
