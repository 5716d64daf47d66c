"""Measures models: perplexity under a stated protocol, and tasks of lm-evaluation-harness (Gao et al., 2021)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.experiment.parameters import check_parameters
from evoprune.exports.exporting import FACTS, described_in
from evoprune.files.json_files import finite
from evoprune.interfaces.export import Table
from evoprune.problems.language_model.evaluation.harness import run_tasks
from evoprune.problems.language_model.evaluation.measure import Divergence, Measure, accuracy
from evoprune.problems.language_model.evaluation.session import protocol_of
from evoprune.problems.language_model.export.ragged_model import load_any
from evoprune.problems.language_model.models.device import follow_threads
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.load import convert
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import EVOLVED, Text
from evoprune.problems.language_model.settings import EvalOptions
from evoprune.problems.language_model.texts.settings import BUNDLED_REPORT_TEXT, TextSettings
from evoprune.problems.language_model.texts.windows import Windows, check_length, cut_windows, settings_of

Row = dict[str, Any]

_SHARES = frozenset({"sparsity", "accuracy", "same_top", "same_top_error", "probability_change"})

_TOP = 256  # likeliest tokens of the source whose probabilities are compared one by one

_ARGUMENTS = {
    "problem.model": "SOURCE",
    "problem.device": "--device",
    "problem.text": "--text",
    "problem.text.window": "--window",
}
"""The argument of ``eval`` that corresponds to each key of an experiment."""


def compare(final: FinalModel, known: Mapping[str, Sequence[float]], options: EvalOptions) -> Table:
    """Measure ``known`` genomes by name and the ``final`` model, in a row each.

    Updated and recovered models have rows of their own. Raises :class:`evoprune.InputError`.
    """
    session = final.session
    resident = session.resident
    if options.dtype and options.dtype != resident.dtype:
        raise InputError("a run is measured in its own dtype; change it with --set problem.dtype=...", "--dtype")
    if options.device not in {"auto", session.settings.device, str(resident.device)}:
        raise InputError("a run is measured on its own device; change it with --set problem.device=...", "--device")
    own = session.settings.report_text
    with _named_as_given():
        text = _text(options, own)
        windows = session.texts.windows(text, "text") if text != own else session.texts.report
    models = {name: FinalModel(session, genome) for name, genome in known.items()} | {EVOLVED: final}
    rows = []
    for name, model in models.items():
        session.transform.apply(model.genome)
        rows.append(_row(name, resident, session.fitness.score_now(windows).value, windows, options))
    for name, model in models.items() if session.transform.updates else ():
        if list(model.genome) != session.transform.dense:
            model.reside()
            perplexity = session.fitness.score_now(windows).value
            rows.append(_row(f"{name}, reconstructed", resident, perplexity, windows, options))
    if final.recovered:
        recovered = final.copy().model
        convert(recovered, resident.device, recovered.dtype)
        perplexity = session.fitness.score_now(windows, measure=Measure(Forward(recovered), None)).value
        row = _row(f"{EVOLVED}, recovered", resident, perplexity, windows, options, recovered)
        rows.append(row | {"sparsity": rows[-1]["sparsity"]})  # zeros stay zero
    return Table(rows, session.protocol() | _measured(windows, options), _SHARES)


def _row(
    name: str, resident: Resident, perplexity: float, windows: Windows, options: EvalOptions, model: Any = None
) -> Row:
    """The measurements of the resident model as it is now, or of ``model``, a copy of it with other weights."""
    model, tokenizer = model or resident.model, resident.tokenizer
    sparsity = resident.removed_weights / resident.prunable_weights
    row = {"model": name, "sparsity": sparsity, "perplexity": finite(perplexity)}
    if windows.lines:
        row["accuracy"] = accuracy(windows, tokenizer, Measure(Forward(model), None))
    tasks = run_tasks(model, tokenizer, options, windows.begin is not None, "--tasks") if options.tasks else {}
    return row | tasks


def measure(source: str, options: EvalOptions) -> Table:
    """One row, for the model that ``source`` names; or :func:`against`. Raises :class:`evoprune.InputError`."""
    if options.against:
        return against(Path(source), options.against, options)
    resident, windows = _read(source, options, Path(source))
    found = Measure(resident.forward, None).perplexity(windows.tokens)
    row = _row(Path(source).name, resident, found, windows, options)
    return Table([row], protocol_of(resident) | _measured(windows, options), _SHARES)


def against(file: Path, source: str, options: EvalOptions) -> Table:
    """Rows for the .gguf ``file`` and its ``source``, if that is one too, in llama.cpp.

    Divergences are those from the source's predictions in PyTorch. Raises :class:`evoprune.InputError`.
    """
    from evoprune.problems.language_model.export.gguf import refuse_without_packages
    from evoprune.problems.language_model.gguf.runtime import checked

    refuse_without_packages()
    if options.tasks or file.suffix != ".gguf" or not file.is_file():
        raise InputError("compares a .gguf file, and without --tasks", "--against")
    resident, windows = _read(source, options, file)
    forward = resident.forward
    dense = Divergence(windows.predictions, min(_TOP, forward.vocabulary), forward.device)
    Measure(resident.forward, None).total(windows.tokens, dense.learn, label="measuring")
    text = Text.model_validate(windows.measured(resident.tokenizer))
    rows: list[Row] = []
    for path in [*filter(lambda path: path.suffix == ".gguf", [Path(source)]), file]:
        found = checked(path, windows.beginning, windows.tokens, windows.begin is not None, dense.known, memory=False)
        if found.get("first_other_token") is not None:
            found["failure"] = f"reads other tokens from token {found['first_other_token']:,} on"
        if "failure" in found or not found["predictions"]:
            raise InputError(found.get("failure", "has infinite losses"), str(path))
        bits = text.bits_per_byte(found["perplexity"])
        row = {"model": path.name, "bytes": path.stat().st_size, "bits_per_byte": bits}
        rows.append(row | {name: found[name] for name in ("perplexity", "divergence")} | found["predictions"])
    return Table(rows, protocol_of(resident) | _measured(windows, options), _SHARES)


def _read(source: str, options: EvalOptions, exported: Path) -> tuple[Resident, Windows]:
    """The model that ``source`` names, and the text: by default that of ``exported``. Raises InputError."""
    with _named_as_given():
        chosen = {"model": source, "device": options.device, "dtype": options.dtype or "float32"}
        given: Any = check_parameters(ModelSettings, chosen, "")
        text = _text(options, _reported(exported))
        follow_threads()
        resident = Resident(*load_any(given), source)
        check_length(text, resident.model, "text")
        return resident, cut_windows(text, resident.tokenizer, "text")


@contextmanager
def _named_as_given() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(error.problems, _ARGUMENTS.get(error.source or "", error.source)) from None


def _text(options: EvalOptions, default: TextSettings) -> TextSettings:
    """The text of ``options``, completed from ``default``; of another text than that, only how windows are cut."""
    given = options.model_dump(include={"split", "column", "window", "windows"}, exclude_unset=True)
    if options.text is None:
        return TextSettings(**default.model_dump() | given)
    own = {"window": default.window, "windows": None, "begin": default.begin}
    return TextSettings(**own | given, source=options.text)


def _reported(source: Path) -> TextSettings:
    """The report text of the export ``source``, a folder or a file; the bundled text if it is not an export."""
    try:
        exported = json.loads(described_in(source, FACTS, source.is_file()).read_text(encoding="utf-8"))
        text = dict(exported["protocol"]["report_text"])
        return settings_of(text)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return BUNDLED_REPORT_TEXT


def _measured(windows: Windows, options: EvalOptions) -> dict[str, Any]:
    return windows.protocol() | ({"tasks": options.tasks, "limit": options.limit} if options.tasks else {})
