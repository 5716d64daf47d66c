"""Carries out an ablation: a run for each variant and seed, in a folder that can be gone on with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune import config, recorded, run_folder
from evoprune.ablation.grid import Variant
from evoprune.errors import InputError
from evoprune.execution import Execution
from evoprune.history import HISTORY, read
from evoprune.problem import Evaluation
from evoprune.recorded import Key
from evoprune.resolve import Resolved, resolve_file
from evoprune.resume import resume
from evoprune.run import run

_NO_END = "generations=10000000"
"""Where a budget says when to stop."""

Memo = dict[Key, Evaluation]


@dataclass(frozen=True)
class Curve:
    """The best fitness so far of one run against the work done: ``work`` rises, ``best`` is what that much gave."""

    work: list[float]
    best: list[float]

    def at(self, budget: float) -> float:
        """The best fitness that at most ``budget`` of work gave; not a number where it gave none."""
        within = [best for work, best in zip(self.work, self.best, strict=True) if work <= budget]
        return within[-1] if within else float("nan")


@dataclass(frozen=True)
class Finished:
    """One run of an ablation."""

    variant: str
    seed: int
    curve: Curve
    held_out: float | None
    """The result's score on data that the search never saw, where the problem gives one."""


def campaign(
    file: str,
    settings: Sequence[str],
    variants: Sequence[Variant],
    seeds: int,
    budget: float,
    folder: Path,
    how: Execution,
) -> Iterator[Finished]:
    """Run every variant on ``seeds`` seeds to ``budget`` of work; what is in ``folder`` already is not run again.

    All variants are checked before the first one runs. Seeds come one after the other, each with
    every variant, so that a campaign that is cut short still compares equals. Runs on the same
    problem share their scores; what a score costs is counted in each all the same.
    """
    stop = [f"budget={budget}", _NO_END]
    plans = [
        (variant, seed, resolve_file(file, [*settings, *variant.settings, *stop, f"seed={seed}"]))
        for seed in range(seeds)
        for variant in variants
    ]
    memos: dict[str, Memo] = {}
    for variant, seed, resolved in plans:
        place = folder / f"{variants.index(variant) + 1:02d}" / f"seed-{seed}"
        print(f"{variant.name}, seed {seed}: {place}", file=sys.stderr)
        memo = memos.setdefault(resolved.settings.model_dump_json(), {})
        _carry_out(resolved, place, how, memo)
        weights = resolved.problem.weights_of(resolved.settings)
        memo |= recorded.read(place, weights).candidates
        yield Finished(variant.name, seed, curve(place, weights[0]), _held_out(place))


def curve(folder: Path, weight: float) -> Curve:
    """The curve of the run in ``folder``. ``weight``: negative if its first objective is minimised."""
    work: list[float] = []
    best: list[float] = []
    spent = 0.0
    for line in read(folder / HISTORY):
        if "candidate" not in line or line["memo"]:
            continue
        spent += line["work"]
        value = line["fitness"][0]
        if value is None or line.get("fidelity", 1.0) < 1:
            continue
        if not best or weight * value > weight * best[-1]:
            work.append(spent)
            best.append(value)
    return Curve(work, best)


def _carry_out(resolved: Resolved, place: Path, how: Execution, memo: Memo) -> None:
    if (place / "result.json").exists():
        _refuse_other(resolved, place)
    elif place.exists():
        resume(place, (), how)
    else:
        run(resolved, place, how, memo)


def _refuse_other(resolved: Resolved, place: Path) -> None:
    """Raise :class:`InputError` unless the finished run in ``place`` is of the same experiment."""
    if config.read(place / "config.yaml") != json.loads(json.dumps(resolved.config())):
        raise InputError("holds a run of another experiment; give the ablation another --name", str(place))


def _held_out(place: Path) -> float | None:
    result: dict[str, Any] = run_folder.read_json(place / "result.json")
    value = result.get("held_out")
    return float(value) if isinstance(value, (int, float)) else None
