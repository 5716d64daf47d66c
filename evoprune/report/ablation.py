"""The page about one ablation, read from its folder, finished or not."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evoprune import api
from evoprune.ablation.campaign import Campaign, is_running, read
from evoprune.ablation.grid import Variant
from evoprune.ablation.results import HEAD, NOT_COMPARED, cells, compared, draw_curves, in_words
from evoprune.ablation.runs import Finished, finished
from evoprune.records import recorded
from evoprune.records.run_folder import CONFIG, HISTORY, RESULT
from evoprune.records.status import RUNNING, look
from evoprune.report.page import Block, Details, code, drawing, facts, items, table, text
from evoprune.report.reading import NothingYet
from evoprune.report.run import machine, repeating


@dataclass(frozen=True)
class Member:
    """One run of an ablation; ``found`` only if it is finished."""

    place: Path  # within the ablation's folder
    variant: str
    seed: int
    state: str
    reason: str | None = None
    found: Finished | None = None
    minimised: bool = True
    failures: Sequence[str] = ()  # the reasons of failed candidates


def blocks(folder: Path) -> Iterator[Block]:
    """The page on the ablation in ``folder``; :class:`NothingYet` while no seed is finished in every variant."""
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
    seeds = len({run.seed for run in whole})
    yield facts(_facts(folder, campaign, members, seeds))
    tables = compared(whole, campaign)
    for title, rows in tables.items():
        yield f"## {text(title[0].upper() + title[1:])}"
        yield table(HEAD, map(cells, rows))
        yield items(in_words(rows, seeds).splitlines())
    yield (
        "Intervals are bootstrapped. p: Mann-Whitney, two-sided, against the first variant, corrected by Holm's method "
        "for the number of comparisons."
    )
    if campaign.label is not None:
        figure = draw_curves(whole, campaign.budget, campaign.unit, campaign.label)
        medians = "; ".join(f"{row.variant}: {row.median:.4g}" for row in next(iter(tables.values())))
        yield drawing("best so far", figure, f"The median of the best so far ends at {medians}.")
    yield "## Runs"
    unseen = all(run.unseen is not None for run in whole)
    head = ["run", "variant", "seed", "state", "best within the budget", *(["unseen data"] if unseen else [])]
    yield table(head, (_row(member, campaign.budget)[: len(head)] for member in members))
    yield f"Each is a folder within {text(folder.resolve().name)}; `evoprune report` writes a page on it."
    yield "## Failures"
    yield items(line for member in members for line in _failures(member)) or "None."
    first = folder / next(member.place for member in members if member.found)
    yield "## Environment"
    yield facts(machine(campaign.environment, api.read_experiment(first).problem))
    yield "## Repeat"
    yield code(repeating(campaign.environment))
    yield "An ablation that has the `--name` already is continued: only missing runs are made."
    yield Details("The first run's experiment, whole", [code((first / CONFIG).read_text(encoding="utf-8"))])


def _member(folder: Path, campaign: Campaign, variant: Variant, seed: int, place: Path) -> Member:
    at = folder / place
    if not at.is_dir():
        return Member(place, variant.name, seed, "not begun")
    status = look(at)
    lines = recorded.lines(at / HISTORY)
    failures = [line["failure"] for line in lines if "candidate" in line and line.get("failure") and not line["memo"]]
    found, minimised = None, True
    if (at / RESULT).exists() and not status.is_running:
        resolved = api.read_experiment(at)
        weight = resolved.problem.weights_of(resolved.settings)[0]
        found, minimised = finished(variant.name, seed, at, weight, campaign), weight < 0
    return Member(place, variant.name, seed, status.state, status.reason, found, minimised, failures)


def _facts(folder: Path, campaign: Campaign, members: Sequence[Member], seeds: int) -> dict[str, str]:
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


def _row(member: Member, budget: float) -> list[object]:
    scores = [member.found.curve.at(budget), member.found.unseen] if member.found else [None, None]
    return [str(member.place), member.variant, member.seed, member.state, *scores]


def _failures(member: Member) -> Iterator[str]:
    if member.reason:
        yield f"{member.place} {member.state}: {member.reason}"
    if member.failures:
        yield f"{member.place}: {len(member.failures)} candidates failed; the first: {member.failures[0]}"
