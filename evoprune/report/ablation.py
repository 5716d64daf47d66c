"""The contents of a page about one ablation, read from its folder, finished or not."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from evoprune import api
from evoprune.ablation.campaign import Campaign, is_running, read
from evoprune.ablation.compare import in_words
from evoprune.ablation.grid import Variant
from evoprune.ablation.outcome import Finished, finished
from evoprune.ablation.results import HEAD, NOT_COMPARED, cells, compared, draw_curves
from evoprune.console.formatting import plain
from evoprune.figures import svg
from evoprune.records import recorded
from evoprune.records.run_folder import CONFIG, HISTORY, RESULT
from evoprune.records.status import RUNNING, look
from evoprune.report.summary import Drawn, machine, repeating, uri
from evoprune.report.unfinished import NothingYet


@dataclass(frozen=True)
class Member:
    """One run of an ablation; ``found`` only if it is finished, ``state`` only if there is anything of it."""

    place: Path
    """Within the ablation's folder."""
    variant: str
    seed: int
    state: str
    reason: str | None
    found: Finished | None
    minimised: bool
    failures: list[str]
    """What went wrong in single candidates."""


@dataclass(frozen=True)
class Ablation:
    """An ablation as the templates take it."""

    name: str
    facts: dict[str, Any]
    head: list[str]
    tables: dict[str, tuple[list[list[str]], list[str]]]
    """By title: the rows, and what differs in sentences."""
    curves: Drawn | None
    """None where variants differ in what they minimise."""
    members: list[list[str]]
    """A row for each run, under ``members_head``."""
    members_head: list[str]
    failures: list[str]
    environment: dict[str, str]
    command: str
    config: str
    """The experiment of the first run that is finished."""


def summarise(folder: Path) -> Ablation:
    """Read the ablation in ``folder``. What is compared are the seeds that every variant has finished.

    Raises :class:`evoprune.InputError` for what is no ablation, and :class:`NothingYet` while there is no such seed.
    """
    campaign = read(folder)
    members = [_member(folder, campaign, *planned) for planned in campaign.places()]
    done = [member.found for member in members if member.found]
    of_seed = Counter(run.seed for run in done)
    whole = [run for run in done if of_seed[run.seed] == len(campaign.variants)]
    if not whole:
        raise NothingYet(
            f"{len(done)} of the {len(members)} runs of this ablation are finished, and no seed in every variant: "
            "there is nothing to compare yet; 'evoprune status' shows how far the runs are",
            str(folder),
        )
    first = next(member for member in members if member.found)
    seeds = len({run.seed for run in whole})
    unseen = all(run.unseen is not None for run in whole)
    return Ablation(
        name=folder.resolve().name,
        facts=_facts(folder, campaign, members, seeds),
        head=HEAD,
        tables={
            title[0].upper() + title[1:]: (list(map(cells, rows)), in_words(rows, seeds).splitlines())
            for title, rows in compared(whole, campaign).items()
        },
        curves=_curves(whole, campaign),
        members=[_row(member, campaign.budget, unseen) for member in members],
        members_head=[
            "run",
            "variant",
            "seed",
            "state",
            "best within the budget",
            *(["unseen data"] if unseen else []),
        ],
        failures=[line for member in members for line in _failures(member)],
        environment=machine(campaign.environment, api.read_experiment(folder / first.place).problem),
        command=repeating(campaign.environment),
        config=(folder / first.place / CONFIG).read_text(encoding="utf-8"),
    )


def _member(folder: Path, campaign: Campaign, variant: Variant, seed: int, place: Path) -> Member:
    at = folder / place
    if not at.is_dir():
        return Member(place, variant.name, seed, "not begun", None, None, True, [])
    status = look(at)
    lines = recorded.lines(at / HISTORY)
    failures = [line["failure"] for line in lines if "candidate" in line and line.get("failure") and not line["memo"]]
    found, minimised = None, True
    if (at / RESULT).exists() and not status.is_running:
        resolved = api.read_experiment(at)
        weight = resolved.problem.weights_of(resolved.settings)[0]
        found, minimised = finished(variant.name, seed, at, weight, campaign), weight < 0
    return Member(place, variant.name, seed, status.state, status.reason, found, minimised, failures)


def _facts(folder: Path, campaign: Campaign, members: Sequence[Member], seeds: int) -> dict[str, Any]:
    done = sum(member.found is not None for member in members)
    state = f"{done} of {len(members)} runs finished"
    if done == len(members):
        state = "done"
    elif is_running(folder):
        state = f"{RUNNING}, {state}"
    else:
        state = f"stopped, {state}; the command below with --name {folder.resolve().name} continues it"
    minimised = next(member.minimised for member in members if member.found)
    compared_seeds = f"{campaign.seeds}" + ("" if seeds == campaign.seeds else f", {seeds} of them compared so far")
    return {
        "state": state,
        "experiment": campaign.file,
        **{f"varied: {key}": ", ".join(values) for key, values in campaign.varied.items()},
        **({"set for all": shlex.join(campaign.settings)} if campaign.settings else {}),
        "seeds of each variant": compared_seeds,
        "budget of each run": f"{campaign.budget:,.0f} {campaign.unit}",
        **({"objective": NOT_COMPARED} if campaign.label is None else {}),
        "better is": "lower" if minimised else "higher",
    }


def _curves(runs: Sequence[Finished], campaign: Campaign) -> Drawn | None:
    if campaign.label is None:
        return None
    figure = draw_curves(runs, campaign.budget, campaign.unit, campaign.label)
    return Drawn("best so far", uri(svg(figure), "svg+xml"), _in_words(runs, campaign))


def _in_words(runs: Sequence[Finished], campaign: Campaign) -> str:
    """The curves for who does not see them: the medians at each quarter of the budget."""
    told = []
    for variant in campaign.variants:
        curves = [run.curve for run in runs if run.variant == variant.name]
        at = [median(curve.at(campaign.budget * quarter / 4) for curve in curves) for quarter in range(1, 5)]
        told.append(f"{variant.name}: {', '.join(map(plain, at))}")
    quarters = f"a quarter, a half, three quarters and all of {campaign.budget:,.0f} {campaign.unit}"
    return f"Median of the best so far after {quarters}. {'; '.join(told)}."


def _row(member: Member, budget: float, unseen: bool) -> list[str]:
    found = member.found
    scores = [found.curve.at(budget), found.unseen] if found else [None, None]
    shown = map(plain, scores if unseen else scores[:1])
    return [str(member.place), member.variant, str(member.seed), member.state, *shown]


def _failures(member: Member) -> list[str]:
    lines = []
    if member.reason:
        lines.append(f"{member.place} {member.state}: {member.reason}")
    if member.failures:
        lines.append(f"{member.place}: {len(member.failures)} candidates failed; the first: {member.failures[0]}")
    return lines
