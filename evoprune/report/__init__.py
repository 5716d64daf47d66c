"""A page for people about one run, or about several: HTML that needs no network, and the same as Markdown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from evoprune.console.formatting import Share, plain
from evoprune.errors import InputError
from evoprune.files.names import distinct
from evoprune.report.page import Block, table, text, write_page
from evoprune.report.reading import Reported, read_run
from evoprune.report.run import blocks


def write(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Write the page on the runs in ``folders``; parameters and result as :func:`write_page`."""
    with _refusing_other_forms(folders):
        runs = list(map(read_run, folders))
        names = distinct(folder.resolve() for folder in folders)
        for run in runs:
            run.name = names[run.run.folder.resolve()]
        title = ", ".join(run.name for run in runs)
        return write_page(title, _side_by_side(runs) if len(runs) > 1 else blocks(runs[0]), out)


@contextmanager
def _refusing_other_forms(folders: Sequence[Path]) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, OverflowError, LookupError, AttributeError) as error:
        names = ", ".join(folder.resolve().name for folder in folders)
        raise InputError(f"history.jsonl or result.json holds lines of another form: {error!r}", names) from None


def _side_by_side(runs: Sequence[Reported]) -> Iterator[Block]:
    differing = _differing(runs)
    yield "## Side by side"
    columns = ["number", *(run.name for run in runs), *([] if differing else ["median (range)"])]
    yield table(columns, (row[: len(columns)] for row in _compared(runs)))
    if differing:
        yield f"Differs in: {text(', '.join(differing))}."
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
