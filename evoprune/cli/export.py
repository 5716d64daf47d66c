"""The commands ``export`` and ``eval``, which use the result of a run."""

import argparse
import json
from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Any

from evoprune.api import Run
from evoprune.cli.options import add_command, add_declared, measuring
from evoprune.console.errors import InputError, Stopped, first_line
from evoprune.console.formatting import aligned, plain
from evoprune.console.progress import Progress
from evoprune.experiment.explain import OPTION
from evoprune.experiment.options import add_set, read_declared
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import CARD, EXPERIMENT, sidecar
from evoprune.interfaces.export import Table
from evoprune.records.run_folder import has_experiment

_WIDE = 8  # columns; a table with more is turned
_MORE = "evoprune.*"  # the facts, and other sidecar files of a problem


def add_export(commands: Any) -> None:
    example = "python -m evoprune export runs/gpt2_mini-20260101-120000-4711 pruned --dtype float16"
    parser = add_command(commands, export, "write a run's best candidate for other tools", example)
    parser.add_argument("run", metavar="RUN_DIR", help="the folder of a finished run")
    about = "the folder to make, or a file with a suffix that the problem knows; it must not exist"
    parser.add_argument("out", metavar="OUT", type=Path, help=about)
    add_set(parser, "override a key of the run's experiment, as in problem.model=where/it/is/now or problem.device=cpu")
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="upload it to this repository of the Hugging Face hub, which is made, private, if it is not there; "
        "evoprune.json and experiment.yaml hold the names of your files",
    )
    add_declared(parser, "ExportOptions")


def export(options: argparse.Namespace) -> None:
    """Write a run's best candidate in a form that other tools use, and check it."""
    if options.push:
        refuse_unready(options.push)
    exported = Run.open(options.run, options.set).export(options.out, **read_declared(options))
    print(*exported.lines(options.out), sep="\n")
    if options.push:
        print(f"uploaded: {push(options.out, options.push)}")


def refuse_unready(name: str) -> None:
    """Refuse a repository ``name`` that cannot be uploaded to."""
    import huggingface_hub  # slow to import
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise InputError(f"expected OWNER/NAME: {first_line(error)}", f"--push {name}") from None
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it", "--push")
    if huggingface_hub.get_token() is None:
        raise InputError("needs a token that may write: run `hf auth login`, or set HF_TOKEN", "--push")


def push(out: Path, name: str) -> str:
    """Upload ``out`` and its sidecar files to the repository ``name``, created private if missing; return its URL."""
    from huggingface_hub import CommitOperationAdd, HfApi

    operations = [CommitOperationAdd(place, path) for place, path in _files(out).items()]
    api = HfApi(library_name="evoprune")
    try:
        repository = api.create_repo(name, private=True, exist_ok=True)
        api.create_commit(repository.repo_id, operations, commit_message="Upload a model that evoprune made")
    except Exception as error:  # of HTTP, of the network, of the hub's rules
        why = f"was not uploaded to {name}: {first_line(error)}"
        raise Stopped(f"{out} is written and whole, but {why}") from None
    return str(repository)


def _files(out: Path) -> dict[str, Path]:
    """Return the files of an export by their paths in the repository; the card of a file becomes that of all."""
    if out.is_dir():
        return {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    files = [out, *(sidecar(out, name) for name in (EXPERIMENT, CARD))]
    files += sorted(out.parent.glob(f"{escape(out.stem)}.{_MORE}"))
    return {(CARD if path == sidecar(out, CARD) else path.name): path for path in files if path.exists()}


def add_eval(commands: Any) -> None:
    example = "python -m evoprune eval pruned --text mine.txt --window 512 --windows 8"
    parser = add_command(commands, evaluate, "measure a run's result, or what else a problem measures", example, "eval")
    parser.add_argument("source", metavar="SOURCE", help="a run's folder, or what an installed problem can measure")
    add_set(parser, "override a key of the run's experiment")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_declared(parser, "EvalOptions")


def evaluate(options: argparse.Namespace) -> None:
    """Measure a run's result and the known solutions, or another source that a problem can measure."""
    measure_options = read_declared(options)
    if has_experiment(options.source):
        table = Run.open(options.source, options.set).compare(**measure_options)
    else:
        similar = Path("runs") / options.source
        if options.source and has_experiment(similar) and not Path(options.source).exists():
            raise InputError(f"no such run here; did you mean {similar}?", options.source)
        if options.set:
            raise InputError(f"changes a run's experiment, and '{options.source}' is no run", "--set")
        part = measuring(options.source)
        checked = check_parameters(part.EvalOptions, measure_options, OPTION)
        with Progress(f"measuring {options.source}"):
            table = part.measure(options.source, checked)
    if options.json:
        print(json.dumps({"rows": [dict(row) for row in table.rows], "protocol": dict(table.protocol)}, indent=2))
    else:
        print(*_lines(table), sep="\n")


def _lines(table: Table) -> Iterator[str]:
    names = list(table.rows[0])

    def shown(name: str, value: Any) -> str:
        return f"{value:.2%}" if name in table.shares and value is not None else plain(value)

    head = [table.words.get(name, name) for name in names]
    lines = [head, *([shown(name, row[name]) for name in names] for row in table.rows)]
    yield from aligned(lines if len(names) <= _WIDE else [[*column] for column in zip(*lines, strict=True)])
    yield ""
    yield from (f"{table.words.get(name, name)}: {plain(value)}" for name, value in table.protocol.items())
