"""The first part of a page on several runs: the settings and results that differ, and the bests so far."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from evoprune.ablation.runs import Finished, improvements
from evoprune.console.formatting import Share, digits, plain
from evoprune.console.markdown import table, text
from evoprune.figures.style import svg
from evoprune.interfaces.blocks import Block, Details, Drawing
from evoprune.report.reading import ERROR, Reported, is_number

_ABSENT = object()  # the value of a key in a section that a run does not have


class _Row(NamedTuple):
    """A setting that differs, and its values, one a run."""

    key: str
    cells: Sequence[Any]


def side_by_side(runs: Sequence[Reported]) -> Iterator[Block]:
    """Yield tables of the settings and results in which ``runs`` differ, and a figure of their bests so far."""
    settings = list(_differing("", [run.resolved.config() for run in runs]))
    yield "## Side by side"
    shown = ([row.key, *(None if cell is _ABSENT else cell for cell in row.cells)] for row in settings)
    yield table(["setting", *(run.name for run in runs)], shown) if settings else "The experiments are the same."
    if kinds := _kinds(runs):
        yield f"**The results are not compared**: they are of different problems ({text('; '.join(kinds))})."
        return
    yield from _results(runs, settings)
    yield from _bests_so_far(runs)


def _differing(key: str, values: Sequence[Any]) -> Iterator[_Row]:
    """Yield the settings below ``key`` that differ; of different plugins only their names."""
    values = [_by_plugin(value) for value in values]
    present = [value for value in values if value is not _ABSENT]
    if all(value == present[0] for value in present):
        return
    sections = [value for value in values if isinstance(value, dict)]
    if len(names := {section.get("use") for section in sections}) > 1:
        yield _Row(key, [value["use"] if isinstance(value, dict) else value for value in values])
        return
    if len(sections) < len(present):
        yield _Row(key, ["given" if isinstance(value, dict) else value for value in values] if names else values)
    for inner in dict.fromkeys(inner for section in sections for inner in section):
        cells = [value.get(inner) if isinstance(value, dict) else _ABSENT for value in values]
        yield from _differing(f"{key}.{inner}".lstrip("."), cells)


def _by_plugin(value: Any) -> Any:
    """Return ``value``, a list of plugins with their options as a mapping by name."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "use" in each for each in value):
        return {each["use"]: each for each in value}
    return value


def _kinds(runs: Sequence[Reported]) -> list[str]:
    """Return the problems of ``runs`` with objectives and units; empty if they are one problem, or its subclasses."""
    found = {(run.objectives, run.problem.signs_of(run.resolved.settings), run.problem.work_unit) for run in runs}
    if len(found) == 1 and any(all(issubclass(run.problem, base.problem) for run in runs) for base in runs):
        return []
    kinds: dict[str, list[str]] = {}
    for run in runs:
        kinds.setdefault(f"{', '.join(run.objectives)}, in {run.problem.work_unit}", []).append(run.name)
    return [f"{', '.join(names)}: {kind}" for kind, names in kinds.items()]


def _results(runs: Sequence[Reported], settings: Sequence[_Row]) -> Iterator[Block]:
    """Yield tables of the results that differ, with a median and a range for each experiment of several seeds."""
    experiments: dict[str, list[Reported]] = {}
    for place, run in enumerate(runs):
        experiments.setdefault(repr([row.cells[place] for row in settings if row.key != "seed"]), []).append(run)
    repeated = [one for one in experiments.values() if len({run.settings["seed"] for run in one}) > 1]
    alone = [one[0].name for one in experiments.values() if one not in repeated]
    several = len(experiments) > 1
    head = ["result", *(run.name for run in runs)]
    names = [one[0].name for one in repeated]
    if len(varied := [row for row in settings if row.key != "seed"]) == 1:
        (row,) = varied
        names = [f"{row.key} {plain(row.cells[runs.index(one[0])])}" for one in repeated]
    head += [f"median (range){f' of {len(one)}: {name}' * several}" for one, name in zip(repeated, names, strict=True)]
    single, nested = (
        _rows(runs, values, repeated) for values in ([_single(run) for run in runs], [run.nested for run in runs])
    )
    yield table(head, single) if single else "The results are the same."
    if several and alone:
        seeds = f"One seed of {text(', '.join(alone))}" if repeated else "One seed each"
        yield f"{seeds}: differences may be chance; the command `ablate` compares several seeds."
    if changed := _measurements(runs, settings):
        yield f"Measured differently ({text(', '.join(changed))}): values may not mean the same."
    if nested:
        yield Details("More numbers that differ", [table(head, nested)])


def _single(run: Reported) -> dict[str, Any]:
    """Return the state of ``run``, the cells that compare it with others, and its numbers."""
    numbers = {name: v for name, v in run.facts.items() if is_number(v) and name not in ("seed", ERROR)}
    return {"state": run.status.state, **run.shown.results, **numbers}


def _rows(
    runs: Sequence[Reported], values: Sequence[Mapping[str, Any]], repeated: Sequence[Sequence[Reported]]
) -> list[list[Any]]:
    """Return a row for each name whose ``values``, a mapping of each run, differ; with medians of ``repeated`` runs."""
    rows = []
    for name in dict.fromkeys(name for of_run in values for name in of_run):
        cells = [of_run.get(name) for of_run in values]
        if any(cell != cells[0] for cell in cells):
            medians = (_median([cells[runs.index(run)] for run in one]) for one in repeated)
            rows.append([name, *map(_with_error, runs, [name] * len(runs), cells), *medians])
    return rows


def _with_error(run: Reported, name: str, value: Any) -> Any:
    """Return ``value``, with its standard error if it is the mean fitness of a search with noise."""
    error = run.facts.get(ERROR)
    return value if error is None or name != next(iter(run.facts)) else f"{plain(value)} ± {digits(error, 2)}"


def _median(values: Sequence[Any]) -> str:
    if not all(map(is_number, values)):
        return plain(None)
    middle = Share(median(values)) if isinstance(values[0], Share) else median(values)
    return f"{plain(middle)} ({plain(min(values))} to {plain(max(values))})"


def _measurements(runs: Sequence[Reported], settings: Sequence[_Row]) -> list[str]:
    """Return the parts in which the protocols of ``runs`` differ; without protocols, the problem's settings."""
    protocols = [protocol for run in runs if (protocol := run.run.result.as_json().get("protocol"))]
    if protocols:
        return [
            key
            for key in protocols[0]
            if all(key in one for one in protocols) and any(one[key] != protocols[0][key] for one in protocols)
        ]
    return [row.key for row in settings if row.key.startswith("problem.")]


def _bests_so_far(runs: Sequence[Reported]) -> Iterator[Drawing]:
    """Yield a figure of the best of each run so far against work, unless no run has more than one best."""
    curves = [_curve(run) for run in runs if run.run.result.standard_error is None]
    if max((len(curve.work) for curve in curves), default=0) < 2:
        return
    from evoprune.ablation.results import draw_curves  # brings in SciPy and matplotlib

    label = runs[0].objectives[0]
    figure = draw_curves(curves, max(curve.spent for curve in curves), runs[0].problem.work_unit, label)
    ends = ", ".join(f"{curve.variant} {plain(curve.best[-1])}" for curve in curves)
    left_out = "" if len(curves) == len(runs) else " Runs with noise have none: single scores would be the luckiest."
    yield Drawing("bests so far", svg(figure), f"Best {label} so far; at the end: {ends}.{left_out}")


def _curve(run: Reported) -> Finished:
    sign = run.problem.signs_of(run.resolved.settings)[0]
    work, best = zip(*((work, line["fitness"][0]) for work, line in improvements(run.lines, sign)), strict=True)
    spent = sum(line["work"] for line in run.lines if "candidate" in line and not line["memo"])
    return Finished(run.name, work, best, spent)
