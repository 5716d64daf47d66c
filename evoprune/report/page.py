"""Fills the templates and writes the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from evoprune import __version__
from evoprune.ablation.campaign import is_campaign
from evoprune.console.formatting import Share, interval, plain
from evoprune.errors import InputError
from evoprune.figures import svg
from evoprune.files.json_files import write_text
from evoprune.records.run_folder import STATUS
from evoprune.records.status import find, look
from evoprune.report import overlay
from evoprune.report.summary import Drawn, Summary, summarise, uri


def write(folders: Sequence[Path], out: Path, refresh: float | None = None) -> tuple[Path, Path]:
    """Write the report on the runs in ``folders``, or on one ablation: ``out`` (HTML), and Markdown beside it.

    A browser that shows the page loads it again every ``refresh`` seconds. Returns both
    files. Raises :class:`evoprune.InputError` for a folder that holds neither or one where
    nothing has been scored yet, for an ablation among other folders, and where ``out`` cannot be written.
    """
    with _refusing_other_forms(folders):
        return fill(*_told(folders), out, refresh)


def write_states(folders: Sequence[Path], out: Path, refresh: float) -> tuple[Path, Path]:
    """As :func:`write`, of runs that have scored too little for a page yet: what each of them does.

    Raises :class:`evoprune.InputError` for a folder that holds none.
    """
    runs = [run for folder in folders for run in ([folder] if _has_only_begun(folder) else find(folder))]
    return fill("states", {"states": list(map(look, runs))}, out, refresh)


def _has_only_begun(folder: Path) -> bool:
    """Whether it is an ablation's that has no run yet."""
    return is_campaign(folder) and not any(folder.rglob(STATUS))


def fill(name: str, told: Mapping[str, Any], out: Path, refresh: float | None = None) -> tuple[Path, Path]:
    """Fill the templates ``name`` with what is ``told``. Returns and raises as :func:`write`."""
    html, markdown = (_named(out, kind) for kind in (".html", ".md"))
    texts = {
        path: _environment(path == html).get_template(name + kind).render(told, refresh=refresh)
        for path, kind in ((html, ".html.jinja"), (markdown, ".md.jinja"))
    }
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", str(path)) from None
    return html, markdown


def _named(out: Path, kind: str) -> Path:
    """``out`` with the suffix ``kind`` in the place of the other's; "gpt2-0.45" keeps its dot."""
    stem = out.stem if out.suffix in {".html", ".md"} else out.name
    if not stem or out.is_dir():
        raise InputError("is a folder; expected a file, such as report.html", f"--out {out}")
    return out.with_name(stem + kind)


def _told(folders: Sequence[Path]) -> tuple[str, dict[str, Any]]:
    """Which templates, and what they are given."""
    for folder in filter(is_campaign, folders):
        if len(folders) > 1:
            raise InputError("is an ablation, whose page is about all its runs; give it alone", str(folder))
        from evoprune.report import ablation  # brings in SciPy, which a page on runs should not wait for

        return "ablation", {"ablation": ablation.summarise(folder)}
    runs = [replace(summarise(folder), name=name) for folder, name in zip(folders, _names(folders), strict=True)]
    several = len(runs) > 1
    told = {"compared": compare(runs) if several else [], "curves": _curves(runs) if several else None}
    return "runs", told | {"runs": runs, "differing": differing(runs)}


def _names(folders: Sequence[Path]) -> list[str]:
    """The name of each folder, with as many of those above it as tell it from others of the same name."""
    parts = [folder.resolve().parts for folder in folders]
    names = []
    for own in parts:
        others = [each for each in parts if each != own]
        count = next((n for n in range(1, len(own)) if all(each[-n:] != own[-n:] for each in others)), len(own))
        names.append("/".join(own[-count:]))
    return names


def _curves(runs: Sequence[Summary]) -> Drawn | None:
    """The best so far of all ``runs``; None where they have several objectives, or not the same one."""
    labels = {run.objectives for run in runs}
    curves = {
        run.name: [(line["generation"], line["best"]) for line in run.generations if line["best"] is not None]
        for run in runs
    }
    if len(labels) > 1 or len(runs[0].objectives) > 1 or not all(curves.values()):
        return None
    shared = {name: value for name, value in runs[0].drawn.items() if all(run.drawn.get(name) == value for run in runs)}
    about = runs[0].about if len({run.about for run in runs}) == 1 else ""
    figure = overlay.draw(curves, shared, runs[0].objectives[0], about)
    return Drawn("best so far", uri(svg(figure), "svg+xml"), overlay.in_words(curves))


@contextmanager
def _refusing_other_forms(folders: Sequence[Path]) -> Iterator[None]:
    try:
        yield
    except (UndefinedError, TypeError, ValueError, OverflowError, LookupError, AttributeError) as error:
        names = ", ".join(folder.resolve().name for folder in folders)
        raise InputError(f"history.jsonl or result.json holds lines of another form: {error}", names) from None


def compare(runs: Sequence[Summary]) -> list[tuple[str, list[float | None], str]]:
    """For each number that all runs state: its name, its value in each run, and median and range in words."""
    numbers = [_numbers(run) for run in runs]
    rows = []
    for name in numbers[0]:
        values = [of_run.get(name) for of_run in numbers]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            middle = Share(median(known)) if isinstance(known[0], Share) else median(known)
            words = f"{plain(middle)} ({plain(min(known))} to {plain(max(known))})"
            rows.append((name, values, words))
    return rows


def differing(runs: Sequence[Summary]) -> list[str]:
    """The keys except the seed in which the experiments of ``runs`` differ; an operator's or problem's own are
    left out where it is another one."""
    keys = dict.fromkeys(key for run in runs for key in run.asked if key != "seed")
    found = [key for key in keys if any(run.asked.get(key) != runs[0].asked.get(key) for run in runs)]
    swapped = [key.removesuffix(".use") for key in found if key.endswith(".use")]
    return swapped + [key for key in found if not any(key.startswith(f"{other}.") for other in swapped)]


def _numbers(run: Summary) -> dict[str, float]:
    nested = {
        " ".join(filter(None, [table, row, column])): cell
        for table, rows in run.tables.items()
        for row, cells in rows.items()
        for column, cell in cells.items()
    }
    return {k: v for k, v in (run.facts | nested).items() if isinstance(v, (int, float)) and not isinstance(v, bool)}


def _cell(value: Any) -> str:
    """A value in a Markdown table or as code: nothing in it may end the cell or begin markup."""
    return " ".join(plain(value).replace("|", "\\|").replace("`", "'").replace("<", "&lt;").split())


def _unbroken(command: str) -> Markup:
    """``command`` as HTML in which no line ends within a word, as browsers end them after a hyphen."""
    return Markup(" ").join(Markup('<span class="whole">{}</span>').format(word) for word in command.split(" "))


def _genes(run: Summary) -> list[tuple[str, dict[str, float]]]:
    """Each gene's label, value, and length as a bar in percent of the largest."""
    largest = max(map(abs, run.best)) or 1.0
    genes = zip(run.labels, run.best, strict=True)
    return [(label, {"value": gene, "percent": round(100 * abs(gene) / largest, 1)}) for label, gene in genes]


def _environment(html: bool) -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"zip_genes": _genes, "version": __version__}
    environment.filters |= {"plain": plain, "cell": _cell, "unbroken": _unbroken, "interval": interval}
    return environment
