"""A page about one run or several: HTML that needs no network, and the same as Markdown."""

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os.path import commonpath, commonprefix
from pathlib import Path
from typing import Any

from evoprune.console.errors import InputError
from evoprune.console.formatting import flat, interval, plain
from evoprune.console.markdown import code, facts, table, text
from evoprune.experiment.config import dumped
from evoprune.files.paths import distinct_names
from evoprune.interfaces.blocks import Block, Details, Drawing
from evoprune.interfaces.export import Exporting, commands
from evoprune.interfaces.parts import part_class, reporting
from evoprune.interfaces.problem import Problem
from evoprune.records.run_folder import CONFIG
from evoprune.report.page import folded, write_page
from evoprune.report.reading import Json, Reported, read_run
from evoprune.report.side_by_side import side_by_side

_LONG = 16  # letters, from which a common beginning of the names of runs is left out
_FEW = 4  # runs, whose names are the title


def blocks(one: Reported, level: int = 2) -> Iterator[Block]:
    """Yield the parts of the page on one run. ``level``: of the headings."""
    head, exported = "#" * level, one.exported
    yield text(one.about)
    if one.verdict:
        yield f"> {text(one.verdict)}"
    yield from one.shown.comparison
    if exported:
        yield f"{head} Use it"
        yield code("\n".join(commands(exported.facts.get("usage", ""), exported.out)) or str(exported.out))
    elif one.finished and part_class(one.problem, Exporting):
        yield f"{head} Export it"
        yield code(f"python -m evoprune export {shlex.quote(str(one.run.folder))} OUT")
    if one.finished and "__main__" not in one.resolved.experiment.plugins:  # whose function a script has
        yield f"{head} Repeat it"
        again = f"python -m evoprune run {shlex.quote(str(one.run.folder / CONFIG))}"
        planned = f"{again}  # the same search, without a limit of time" if one.planned else ""
        yield code("\n".join(filter(None, [repeat_command(one.environment) or again, planned])))
    for drawn in one.shown.maps:
        yield f"{head} {text(drawn.title)}"
        yield drawn
    if one.run.result.seconds:
        yield f"{head} Time"
        yield facts(one.seconds)
    sections = _sections(one, level)
    yield from folded(sections, head) if exported or any(one.shown) else sections


def _sections(one: Reported, level: int) -> Iterator[Block]:
    """Yield the parts of the page on the result, the search and its environment. ``level``: of the headings."""
    head, result = "#" * level, one.run.result
    yield f"{head} Result"
    now = {"now": one.status.phase, "time left": interval(one.status.seconds_left)} if one.status.phase else {}
    explained = {one.reporting.words.get(key, key): sentence for key, sentence in one.reporting.explained.items()}
    yield facts({"state": one.status.state, **now, **one.facts}, explained)
    for title, cells in one.tables.items():
        yield f"{head}# {text(title)}"
        if title in explained:
            yield f"*{text(explained[title])}*"
        yield _table(cells)
    if result.front:
        yield f"{head}# Candidates that no other dominates"
        yield table(["", *one.objectives], ([f"candidate {point.candidate}", *point.fitness] for point in result.front))
    yield from _drawings(one)
    yield f"{head} The best candidate"
    genes = result.genes or {f"gene {number}": plain(value) for number, value in enumerate(one.run.best.genome)}
    named = "part" if result.genes and one.problem.space is not Problem.space else "gene"  # genes have no names there
    yield table([named, "value"], genes.items())
    if len(one.generations) > 1:
        yield f"{head} Convergence"
        yield "Half of the population lies between the quartiles."
        columns = ["generation", "best", "lower quartile", "median", "upper quartile", "worst"]
        generations = ((g, g["quartiles"]) for g in one.generations)
        rows = ([g["generation"], g["best"], low, g["median"], high, g["worst"]] for g, (low, high) in generations)
        yield Details("The population after each generation", [table(columns, rows)])
    if references := [line for line in one.lines if "reference" in line]:
        yield f"{head} Known solutions, on the search's data"
        yield table(["name", *one.objectives], ([line["reference"], *line["fitness"]] for line in references))
    failures = defaultdict[str, list[int]](list)
    for line in one.lines:
        if "candidate" in line and line.get("failure"):
            failures[line["failure"]].append(line["candidate"])
    yield f"{head} Failures"
    yield "\n".join(f"- {_numbered(numbers)}: {text(reason)}" for reason, numbers in failures.items()) or "None."
    if protocol := result.as_json().get("protocol"):
        yield f"{head} Protocol"
        yield "The measurement of these numbers; numbers under another protocol cannot be compared with them."
        yield facts(flat(protocol))
    yield f"{head} Environment"
    yield facts(machine(one.environment, one.problem))
    yield f"{head} Experiment"
    yield code(dumped(one.run.resolved.config()))


def _numbered(candidates: Sequence[int]) -> str:
    first = f"candidate {candidates[0]}"
    return first if len(candidates) == 1 else f"{first} and {len(candidates) - 1} more"


def _table(rows: Mapping[str, Json]) -> str:
    columns = list(next(iter(rows.values())))
    return table(["", *columns], ([name, *(row.get(column) for column in columns)] for name, row in rows.items()))


def _drawings(one: Reported) -> Iterator[Drawing]:
    first, *others = one.objectives
    last = max(0, len(one.generations) - 1)
    ends = " to ".join(plain(line["best"]) for line in [*one.generations[:1], *one.generations[1:][-1:]])
    spread = f"{first} alone, of {1 + len(others)} objectives" if others else f"best {first}: {ends}"
    words = {"convergence": f"The population over {last} generations; {spread}."}
    if front := one.run.result.front:
        words["front"] = f"{len(front)} candidates that no other dominates: {first} against {' and '.join(others)}."
    words |= one.run.result.figures or {}
    for name, image in one.figures.items():
        if name == "convergence" and not last:  # one point
            continue
        title = name.replace("_", " ")
        yield Drawing(title, image, words.get(name, title))


def machine(environment: Mapping[str, Any], problem: type[Problem]) -> dict[str, str]:
    """The machine of an ``environment``, and the versions of the packages that ``problem`` depends on."""
    installed = environment.get("packages")
    versions = installed if isinstance(installed, dict) else {}
    shown = {k: environment[k] for k in ("python", "platform", "cores") if k in environment}
    shown |= {name: versions[name] for name in ("evoprune", "deap", *reporting(problem).packages) if name in versions}
    return {name: str(value) for name, value in shown.items()}


def repeat_command(environment: Mapping[str, Any]) -> str:
    """Return the shell command that repeats the run of ``environment``; empty if it was not a single command."""
    command = environment.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command) or not command:
        return ""
    program = Path(command[0])  # a notebook's or a script's, where Python called us
    if "evoprune" not in {program.name, program.parent.name} or environment.get("resumed"):
        return ""
    return shlex.join(["python", "-m", "evoprune", *command[1:]])


def write(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write the page on the runs in ``folders``; parameters and result as :func:`write_page`."""
    try:
        runs = list(map(read_run, folders))
        names = distinct_names(folder.resolve() for folder in folders)
        for run in runs:
            run.name = names[run.run.folder.resolve()]
        start = commonprefix([run.name for run in runs])  # noqa: RUF071 - of names, not paths
        start = start[: start.rfind("-") + 1]  # the model and the day of names by default
        if len(runs) > 1 and len(start) > _LONG:
            for run in runs:
                run.name = run.name.removeprefix(start)
        title = ", ".join(run.name for run in runs)
        if len(runs) > _FEW:
            title = f"{len(runs)} runs in {Path(commonpath([folder.resolve() for folder in folders])).name}"
        return write_page(title, _of_several(runs) if len(runs) > 1 else blocks(runs[0]), out)
    except (TypeError, ValueError, OverflowError, LookupError, AttributeError) as error:
        every = ", ".join(folder.resolve().name for folder in folders)
        raise InputError(f"history.jsonl or result.json holds lines of another form: {error!r}", every) from None


def _of_several(runs: Sequence[Reported]) -> Iterator[Block]:
    yield from side_by_side(runs)
    yield "## Each run"
    yield from (Details(run.name, [*blocks(run, level=3)]) for run in runs)
