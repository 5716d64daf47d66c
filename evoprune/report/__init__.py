"""A page for people about one run, several, or an ablation: HTML that needs no network, and the same as Markdown."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from evoprune.ablation import campaign
from evoprune.console.formatting import Share, plain
from evoprune.errors import InputError
from evoprune.records.status import look
from evoprune.report import figures
from evoprune.report.page import Block, drawing, table, text, write_page
from evoprune.report.reading import NothingYet, Reported, read_run
from evoprune.report.run import blocks


def write(folders: Sequence[Path], out: Path, refresh: float | None = None) -> tuple[Path, Path]:
    """Write the page on the runs in ``folders``, or on one ablation; parameters and result as :func:`write_page`."""
    with _refusing_other_forms(folders):
        for folder in filter(campaign.is_campaign, folders):
            if len(folders) > 1:
                raise InputError("is an ablation, whose page is about all its runs; give it alone", str(folder))
            from evoprune.report import ablation  # brings in SciPy, which a page on runs should not wait for

            return write_page(folder.resolve().name, ablation.blocks(folder), out, refresh)
        runs = list(map(read_run, folders))
        for run, name in zip(runs, _names(folders), strict=True):
            run.name = name
        title = ", ".join(run.name for run in runs)
        return write_page(title, _side_by_side(runs) if len(runs) > 1 else blocks(runs[0]), out, refresh)


def watch(
    folders: Sequence[Path], out: Path, seconds: float, wait: Callable[[float], None] = time.sleep
) -> tuple[Path, Path]:
    """Write the page every ``seconds`` from the first score until nothing in it is running; return as :func:`write`."""
    while any(map(_is_running, folders)):
        try:
            write(folders, out, refresh=seconds)
        except NothingYet:
            if not any(map(_is_running, folders)):
                raise
        wait(seconds)
    return write(folders, out)


def _is_running(folder: Path) -> bool:
    return campaign.is_running(folder) or look(folder).is_running


@contextmanager
def _refusing_other_forms(folders: Sequence[Path]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, OverflowError, LookupError, AttributeError) as error:
        names = ", ".join(folder.resolve().name for folder in folders)
        raise InputError(f"history.jsonl or result.json holds lines of another form: {error!r}", names) from None


def _names(folders: Sequence[Path]) -> list[str]:
    """The name of each folder, with as many of those above it as tell it from others of the same name."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        others = [each for each in parts if each != own]
        count = next((n for n in range(1, len(own)) if all(each[-n:] != own[-n:] for each in others)), len(own))
        names.append("/".join(own[-count:]))
    return names


def _side_by_side(runs: Sequence[Reported]) -> Iterator[Block]:
    differing = _differing(runs)
    yield "## Side by side"
    columns = ["number", *(run.name for run in runs), *([] if differing else ["median (range)"])]
    yield table(columns, (row[: len(columns)] for row in _compared(runs)))
    if differing:
        yield f"Differs in: {text(', '.join(differing))}."
    yield from _curves(runs)
    for run in runs:
        yield f"## {text(run.name)}"
        yield from blocks(run, level=3)


def _compared(runs: Sequence[Reported]) -> Iterator[list[object]]:
    """A row for each number that all runs state: its name, its value in each run, and median and range in words."""
    numbers = [run.numbers for run in runs]
    for name, first in numbers[0].items():
        values = [of_run[name] for of_run in numbers if name in of_run]
        if len(values) == len(runs):
            middle = Share(median(values)) if isinstance(first, Share) else median(values)
            yield [name, *values, f"{plain(middle)} ({plain(min(values))} to {plain(max(values))})"]


def _differing(runs: Sequence[Reported]) -> list[str]:
    """The keys, except the seed, in which the experiments differ; of another operator or problem its name alone."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if key != "seed")
    found = [key for key in keys if any(run.settings.get(key) != runs[0].settings.get(key) for run in runs)]
    swapped = [key.removesuffix(".use") for key in found if key.endswith(".use")]
    return swapped + [key for key in found if not any(key.startswith(f"{other}.") for other in swapped)]


def _curves(runs: Sequence[Reported]) -> Iterator[Block]:
    """The best so far of all ``runs``, unless they have several objectives, or not the same one."""
    curves = {
        run.name: [(line["generation"], line["best"]) for line in run.generations if line["best"] is not None]
        for run in runs
    }
    first = runs[0]
    if len({run.objectives for run in runs}) > 1 or len(first.objectives) > 1 or not all(curves.values()):
        return
    shared = {k: v for k, v in first.references.items() if all(run.references.get(k) == v for run in runs)}
    about = first.about if len({run.about for run in runs}) == 1 else ""
    figure = figures.draw_curves(curves, shared, first.objectives[0], about)
    yield drawing("best so far", figure, figures.describe_curves(curves))
