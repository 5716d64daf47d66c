"""What a report says of one run, read from its folder. All of it is data, and may be lacking."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from evoprune import api
from evoprune.console.formatting import Share, flat, plain
from evoprune.figures import draw_convergence, svg
from evoprune.files.json_files import read_json
from evoprune.interfaces.parts import Reporting, reporting, titles
from evoprune.interfaces.problem import Problem
from evoprune.interfaces.result import Result
from evoprune.records.history import is_generation
from evoprune.records.run_folder import CONFIG, ENVIRONMENT, RESULT
from evoprune.records.status import Status, look
from evoprune.report import family
from evoprune.report.unfinished import so_far

_NOT_TABLES = {"best", "protocol", "genes", "curve", "figures"}
"""Keys of a result that have a place of their own, or are drawn."""

_TIMES = {
    "seconds": "search, from its first generation",
    "seconds_evaluating": "evaluations, summed over workers",
}

_TOLD_ELSEWHERE = {*_TIMES, "work_unit"}

_MOST_COLUMNS = 20
"""A table with more is for programs, which read result.json, and not for a page."""

Json = dict[str, Any]


class Drawn(NamedTuple):
    """A figure within a page."""

    title: str
    uri: str
    words: str
    """What it shows, also for readers who cannot see it."""


@dataclass(frozen=True)
class Summary:
    """One run, as the templates take it."""

    name: str
    about: str
    """What it is on, for titles."""
    status: Status
    verdict: str
    """What the run was worth, in a sentence or two; empty while it is not done, or where its problem does not say."""
    best: list[float]
    labels: list[str]
    """Of the genes."""
    objectives: tuple[str, ...]
    facts: dict[str, Any]
    """The result's single values by what they are called."""
    tables: dict[str, Json]
    """The result's tables by name: row to column to value."""
    explained: Mapping[str, str]
    """What some of these, and of the facts, mean, by name."""
    front: Json
    """What no other candidate dominates: name to values, where there are several objectives."""
    protocol: dict[str, Any]
    described: list[Json]
    """Parts of the protocol that are described by the same keys, a table each: row to column to value."""
    references: list[Json]
    drawn: Mapping[str, float]
    """The references that figures of the search show, by name."""
    generations: list[Json]
    ancestors: list[Json]
    family: Drawn | None
    """The tree of the ancestors; None where the best has none."""
    failures: list[Json]
    times: dict[str, float]
    figures: list[Drawn]
    environment: dict[str, str]
    command: str
    asked: Json
    """The experiment, by dotted key."""
    config: str


def summarise(folder: Path) -> Summary:
    """Read the run in ``folder``, finished or not.

    Raises :class:`evoprune.InputError` for what is no run, and while nothing is scored.
    """
    if (folder / RESULT).exists() and not look(folder).is_running:
        run = api.Run.open(folder)
        return _summary(run, run.lines, run.figures, _verdict(run))
    run, lines = so_far(folder)
    with TemporaryDirectory() as drawn:
        draw_convergence(lines, _objectives(run)[0], Path(drawn), *_titles(run))
        return _summary(run, lines, {"convergence": Path(drawn) / "convergence.svg"})


def _verdict(run: api.Run) -> str:
    return next(iter(_told(run).summary(run.result)), "")


def _summary(run: api.Run, lines: Sequence[Json], figures: Mapping[str, Path], verdict: str = "") -> Summary:
    folder = run.folder
    candidates = {line["candidate"]: line for line in lines if isinstance(line.get("candidate"), int)}
    generations = [line for line in lines if is_generation(line)]
    protocol = run.result.protocol or {}
    alike = _alike(protocol)
    environment = _optional(folder / ENVIRONMENT)
    labels = run.result.genes or []
    if len(labels) != len(run.best.genome):
        labels = [f"gene {number}" for number in range(len(run.best.genome))]
    config = run.resolved.config()
    ancestors = [] if run.best.candidate is None else family.ancestors(run.best.candidate, candidates)
    return Summary(
        name=folder.resolve().name,
        status=look(folder),
        verdict=verdict,
        about=_titles(run)[0],
        best=list(map(Share, run.best.genome)) if "genes" in _told(run).shares else run.best.genome,
        labels=labels,
        objectives=_objectives(run),
        facts=_facts(run),
        tables=_tables(run),
        explained={_told(run).words.get(key, key): sentence for key, sentence in _told(run).explained.items()},
        front={f"candidate {point.candidate}": point.fitness for point in run.result.front or []},
        protocol=flat({key: value for key, value in protocol.items() if not any(key in one for one in alike)}),
        described=[{row: {key: one[key][row] for key in one} for row in next(iter(one.values()))} for one in alike],
        references=[line for line in lines if "reference" in line],
        drawn={line["reference"]: line["fitness"][0] for line in lines if line.get("reference") in _titles(run)[1]},
        generations=generations,
        ancestors=ancestors,
        family=_family(run, ancestors),
        failures=[line for line in candidates.values() if line.get("failure")],
        times=_times(run.result),
        figures=[_figure(name, path, run, generations) for name, path in figures.items()],
        environment=machine(environment, run.resolved.problem),
        command=repeating(environment) or shlex.join(["python", "-m", "evoprune", "run", str(folder / CONFIG)]),
        asked=flat(config),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def _optional(path: Path) -> Json:
    return read_json(path) if path.exists() else {}


def machine(environment: Mapping[str, Any], problem: type[Problem]) -> dict[str, str]:
    """What a page shows of an ``environment``: the machine, and the versions of what ``problem`` depends on."""
    installed = environment.get("packages")
    versions = installed if isinstance(installed, dict) else {}
    told = {k: environment[k] for k in ("python", "platform", "cores") if k in environment}
    told |= {name: versions[name] for name in ("evoprune", "deap", *reporting(problem).packages) if name in versions}
    return {name: str(value) for name, value in told.items()}


def _objectives(run: api.Run) -> tuple[str, ...]:
    return run.resolved.problem.labels_of(run.resolved.settings)


def _facts(run: api.Run) -> Json:
    """The best's fitness and the result's single values except times, by words with units; shares in percent."""
    problem = run.resolved.problem
    words = {
        "work": f"work, in {problem.work_unit}",
        "setup_cost": f"of it before the search, in {problem.work_unit}",
        "evaluations": "candidates evaluated",
        "failures": "candidates that failed",
        "chosen": "who won the finals",
        "finals_changed_the_result": "another finalist than the search's best was chosen",
        **_told(run).words,
    }
    facts = {f"{name} of the best": value for name, value in zip(_objectives(run), run.best.fitness, strict=True)}
    for key, value in run.result.as_json().items():
        if not _single(value) or key in _TOLD_ELSEWHERE or (key == "setup_cost" and not value):
            continue
        facts[words.get(key, key)] = _shown(value, key in _told(run).shares)
    return facts


def _told(run: api.Run) -> type[Reporting]:
    return reporting(run.resolved.problem)


def _titles(run: api.Run) -> tuple[str, Collection[str]]:
    return titles(run.resolved.problem, run.resolved.settings, run.resolved.experiment.seed)


def _shown(value: Any, share: bool) -> Any:
    if isinstance(value, str):
        return value.replace("\n", "\N{RETURN SYMBOL}")  # which a page would show as nothing
    return Share(value) if share and isinstance(value, float | int) else value


def _single(value: Any) -> bool:
    return isinstance(value, (int, float, str)) or value is None


def _tables(run: api.Run) -> dict[str, Json]:
    told, tables = _told(run), {}
    for key, value in run.result.as_json().items():
        if isinstance(value, dict) and key not in _NOT_TABLES:
            rows = _table(value, {key} & told.shares, told.shares)
            if all(len(row) <= _MOST_COLUMNS for row in rows.values()):
                tables[told.words.get(key, key)] = rows
    return tables


def _table(value: Mapping[str, Any], whole: Collection[str], shares: Collection[str]) -> Json:
    """Rows of columns; a mapping of single values becomes one row. Cells that are lists are for programs.

    ``whole``: not empty if all numbers are shares, or else those in rows and columns named in ``shares``.
    """
    rows = value if all(isinstance(row, dict) for row in value.values()) else {"": value}
    return {
        name: {
            key: _shown(cell, bool(whole or {name, key} & set(shares))) for key, cell in row.items() if _single(cell)
        }
        for name, row in rows.items()
    }


def _alike(protocol: Json) -> list[Json]:
    """Groups of the mappings in ``protocol`` that have the same keys."""
    groups: dict[frozenset[str], Json] = {}
    for key, value in protocol.items():
        if isinstance(value, dict):
            groups.setdefault(frozenset(value), {})[key] = value
    return [group for keys, group in groups.items() if len(group) > 1 and keys]


def _family(run: api.Run, ancestors: Sequence[Json]) -> Drawn | None:
    best = run.best.candidate
    if best is None or len(ancestors) < 2:
        return None
    weight = run.resolved.problem.weights_of(run.resolved.settings)[0]
    figure = family.draw(ancestors, best, _objectives(run)[0], weight)
    return Drawn("family tree", uri(svg(figure), "svg+xml"), family.in_words(ancestors, best))


def _times(result: Result) -> dict[str, float]:
    return {words: getattr(result, key) for key, words in _TIMES.items() if key in result.model_fields_set}


def _figure(name: str, path: Path, run: api.Run, generations: Sequence[Json]) -> Drawn:
    title = name.replace("_", " ")
    captions = {"convergence": _convergence_in_words(run, generations)} | (run.result.figures or {})
    return Drawn(title, uri(path.read_bytes(), "svg+xml"), captions.get(name, title))


def _convergence_in_words(run: api.Run, generations: Sequence[Json]) -> str:
    first, *others = _objectives(run)
    last = max(0, len(generations) - 1)
    if others:
        return f"The population over {last} generations: {first} alone, of {1 + len(others)} objectives."
    ends = " to ".join(plain(line["best"]) for line in [*generations[:1], *generations[1:][-1:]])
    return f"The population over {last} generations; best {first}: {ends}."


def uri(image: bytes, kind: str) -> str:
    """``image`` as an address that holds it; ``kind``: ``png`` or ``svg+xml``."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"


def repeating(environment: Mapping[str, Any]) -> str:
    """The shell command that repeats what ``environment`` records; empty where it was not one command."""
    command = environment.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command) or not command:
        return ""
    program = Path(command[0])  # a notebook's or a script's, where Python called us
    if "evoprune" not in {program.name, program.parent.name} or environment.get("resumed"):
        return ""
    return shlex.join(["python", "-m", "evoprune", *command[1:]])
