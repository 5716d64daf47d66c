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


class _Experiment(NamedTuple):
    """The ``runs`` of an experiment, which differ in the seed alone, by their seeds."""

    name: str
    runs: Sequence[Reported]

    @property
    def seeds(self) -> list[int]:
        return [run.settings["seed"] for run in self.runs]

    @property
    def repeated(self) -> bool:
        """Whether it has several seeds: a repetition of one seed tells nothing of chance."""
        return len({*self.seeds}) > 1


def side_by_side(runs: Sequence[Reported]) -> Iterator[Block]:
    """Yield tables of the settings and results in which ``runs`` differ, and a figure of their bests so far.

    Of several experiments, some with several seeds, by experiment; else by run.
    """
    settings = list(_differing("", [run.resolved.config() for run in runs]))
    experiments = _experiments(runs, settings)
    if len(experiments) == 1 or not any(each.repeated for each in experiments):
        columns = [_Experiment(run.name, [run]) for run in runs]
    else:
        columns, settings = experiments, [row for row in settings if row.key != "seed"]
    yield "## Side by side"
    places = [runs.index(each.runs[0]) for each in columns]
    shown = ([row.key, *(None if (cell := row.cells[at]) is _ABSENT else cell for at in places)] for row in settings)
    yield table(["setting", *(each.name for each in columns)], shown) if settings else "The experiments are the same."
    if kinds := _kinds(runs):
        yield f"**The results are not compared**: they are of different problems ({text('; '.join(kinds))})."
        return
    yield from _results(runs, settings, experiments, columns)
    yield from _bests_so_far(columns)


def _experiments(runs: Sequence[Reported], settings: Sequence[_Row]) -> list[_Experiment]:
    """Group ``runs`` by all ``settings`` but the seed: by the setting if one differs, else by a run or its folder."""
    varied = [row for row in settings if row.key != "seed"]
    grouped: dict[str, list[Reported]] = {}
    for place, run in enumerate(runs):
        grouped.setdefault(repr([row.cells[place] for row in varied]), []).append(run)
    ordered = [sorted(one, key=lambda run: run.settings["seed"]) for one in grouped.values()]
    names = [one[0].name for one in ordered]
    folders = [run_name.rpartition("/")[0] for run_name in names]
    if len(varied) == 1:
        names = [f"{varied[0].key} {plain(varied[0].cells[runs.index(one[0])])}" for one in ordered]
    elif all(folders) and len({*folders}) == len(folders) < len(runs):
        names = folders
    return [_Experiment(name, one) for name, one in zip(names, ordered, strict=True)]


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


def _results(
    runs: Sequence[Reported],
    settings: Sequence[_Row],
    experiments: Sequence[_Experiment],
    columns: Sequence[_Experiment],
) -> Iterator[Block]:
    """Yield tables of the results that differ: of ``columns``, and of single runs if those are experiments."""
    values = [_single(run) for run in runs]
    several, repeated = len(experiments) > 1, len(columns) < len(runs)
    head = ["result", *(f"{each.name}{f', {len({*each.seeds})} seeds' * each.repeated}" for each in columns)]
    if with_median := not several and experiments[0].repeated:
        head.append("median (range)")
    rows = _by_experiment(runs, values, columns) if repeated else _rows(runs, values, with_median)
    yield table(head, rows) if rows else "The results are the same."
    if repeated:
        yield f"Medians and ranges. {_explained_p(columns)}"
    alone = [each.name for each in columns if not each.repeated]
    if several and alone:
        of_one = f"One seed of {text(', '.join(alone))}" if repeated else "One seed each"
        yield f"{of_one}: differences may be chance; the command `ablate` compares several seeds."
    if changed := _measurements(runs, settings):
        yield f"Measured differently ({text(', '.join(changed))}): values may not mean the same."
    names = ["result", *(run.name for run in runs)]
    if repeated and (single := _rows(runs, values)):
        yield Details("Results of each run", [table(names, single)])
    if nested := _rows(runs, [run.nested for run in runs], with_median):
        yield Details("More numbers that differ", [table(names if several else head, nested)])


def _single(run: Reported) -> dict[str, Any]:
    """Return the state of ``run``, the cells that compare it with others, and its numbers."""
    numbers = {name: v for name, v in run.facts.items() if is_number(v) and name not in ("seed", ERROR)}
    return {"state": run.status.state, **run.shown.results, **numbers}


def _rows(runs: Sequence[Reported], values: Sequence[Mapping[str, Any]], with_median: bool = False) -> list[list[Any]]:
    """Return a row for each name whose ``values``, a mapping of each run, differ."""
    return [
        [name, *map(_with_error, runs, [name] * len(runs), cells), *([_median(cells)] if with_median else [])]
        for name, cells in _differing_cells(values)
    ]


def _by_experiment(
    runs: Sequence[Reported], values: Sequence[Mapping[str, Any]], experiments: Sequence[_Experiment]
) -> list[list[Any]]:
    """Return a row for each name whose ``values`` differ: a value, or median and range, and p against the first."""
    from evoprune.ablation.results import compare  # brings in SciPy and matplotlib

    rows = []
    for name, cells in _differing_cells(values):
        scores = [[cells[runs.index(run)] for run in each.runs] for each in experiments]
        p_values: list[float | None] = [None] * len(experiments)
        if not _no_p(experiments) and all(map(is_number, cells)):
            p_values = [row.p for row in compare({str(place): numbers for place, numbers in enumerate(scores)})]
        shown = [
            _summary(numbers) if len(numbers) > 1 else _with_error(each.runs[0], name, numbers[0])
            for each, numbers in zip(experiments, scores, strict=True)
        ]
        tested = (cell if p is None else f"{cell}, p {digits(p, 2)}" for cell, p in zip(shown, p_values, strict=True))
        rows.append([name, *tested])
    return rows


def _no_p(experiments: Sequence[_Experiment]) -> str:
    """Return why the difference of ``experiments`` from the first is not tested; empty if it is."""
    if any(each.seeds != experiments[0].seeds or len({*each.seeds}) < len(each.seeds) for each in experiments):
        return "the experiments have not the same seeds, one run each"
    if not all(run.finished for each in experiments for run in each.runs):
        return "some runs have not ended"
    return ""


def _explained_p(experiments: Sequence[_Experiment]) -> str:
    from evoprune.ablation.results import explained_p  # brings in SciPy and matplotlib

    if why := _no_p(experiments):
        return f"No p: {why}."
    within = "Runs may end beyond their budget; the page of `ablate` compares the best within it."
    return f"{explained_p(len(experiments), len(experiments[0].runs))} {within}"


def _differing_cells(values: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the names whose ``values``, a mapping of each run, differ, and a cell for each run."""
    for name in dict.fromkeys(name for of_run in values for name in of_run):
        cells = [of_run.get(name) for of_run in values]
        if any(cell != cells[0] for cell in cells):
            yield name, cells


def _with_error(run: Reported, name: str, value: Any) -> Any:
    """Return ``value``, with its standard error if it is the mean fitness of a search with noise."""
    error = run.facts.get(ERROR)
    return value if error is None or name != next(iter(run.facts)) else f"{plain(value)} ± {digits(error, 2)}"


def _summary(values: Sequence[Any]) -> str:
    """Return median and range of ``values``; of words, the different ones."""
    return _median(values) if all(map(is_number, values)) else ", ".join(dict.fromkeys(map(plain, values)))


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


def _bests_so_far(experiments: Sequence[_Experiment]) -> Iterator[Drawing]:
    """Yield a figure of the best of each experiment so far against work, unless no run has more than one best."""
    named = [(each.name, run) for each in experiments for run in each.runs]
    curves = [_curve(name, run) for name, run in named if run.run.result.standard_error is None]
    if max((len(curve.work) for curve in curves), default=0) < 2:
        return
    from evoprune.ablation.results import draw_curves  # brings in SciPy and matplotlib

    _, first = named[0]
    label, unit = first.objectives[0], first.problem.work_unit
    figure = draw_curves(curves, max(curve.spent for curve in curves), unit, label)
    ends = ", ".join(f"{curve.variant} {plain(curve.best[-1])}" for curve in curves)
    words = f"at the end: {ends}" if len(experiments) == len(named) else "median and range over seeds"
    left_out = " Runs with noise have none: single scores would be the luckiest." * (len(curves) < len(named))
    yield Drawing("bests so far", svg(figure), f"Best {label} so far; {words}.{left_out}")


def _curve(name: str, run: Reported) -> Finished:
    sign = run.problem.signs_of(run.resolved.settings)[0]
    work, best = zip(*((work, line["fitness"][0]) for work, line in improvements(run.lines, sign)), strict=True)
    spent = sum(line["work"] for line in run.lines if "candidate" in line and not line["memo"])
    return Finished(name, work, best, spent)
