"""Measures models: perplexity under a stated protocol, and tasks of lm-evaluation-harness (Gao et al., 2021)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from evoprune import InputError
from evoprune.plugins import EVOLVED, FACTS, Table, check_parameters, find_plugin, finite, metadata_path
from evoprune.problems.language_model.evaluation.answers import accuracy
from evoprune.problems.language_model.evaluation.harness import run_tasks
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.evaluation.session import protocol_of
from evoprune.problems.language_model.export import FORMATS
from evoprune.problems.language_model.export.ragged_model import load_any
from evoprune.problems.language_model.models.device import follow_threads
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.load import convert
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.settings import EvalOptions
from evoprune.problems.language_model.texts.settings import BUNDLED_REPORT_TEXT, TextSettings
from evoprune.problems.language_model.texts.tasks import is_task, most_tokens
from evoprune.problems.language_model.texts.windows import Windows, check_length, cut_windows, settings_of

Row = dict[str, Any]

_SHARES = frozenset({"sparsity", "accuracy"})
_COMPARED = 20_000  # tokens of a text


def compare(final: FinalModel, baselines: Mapping[str, Sequence[float]], options: EvalOptions) -> Table:
    """Measure genomes of ``baselines`` and the ``final`` model, in a row each; updated and recovered models in others.

    Raises :class:`evoprune.InputError`.
    """
    session = final.session
    resident = session.resident
    if options.dtype and options.dtype != resident.dtype:
        raise InputError("a run is measured in its own dtype; change it with --set problem.dtype=...", "--dtype")
    if options.device not in {"auto", session.settings.device, str(resident.device)}:
        raise InputError("a run is measured on its own device; change it with --set problem.device=...", "--device")
    report = session.settings.report_text
    with _options_in_errors():
        text = _text(options, report, options.text)
        windows = session.texts.windows(text, "text") if text != report else session.texts.report

    def measured(name: str, model: Any = None) -> Row:
        measure = Measure(Forward(model), None) if model else None
        perplexity = session.fitness.score_model(windows, measure=measure).value
        return _row(name, resident, perplexity, windows, options, model)

    models = {name: FinalModel(session, genome) for name, genome in baselines.items()} | {EVOLVED: final}
    rows = []
    for name, model in models.items():
        session.transform.apply(model.genome)
        rows.append(measured(name))
    for name, model in models.items() if session.transform.facts.updates else ():
        if list(model.genome) != session.transform.dense:
            model.make_resident()
            rows.append(measured(f"{name}, reconstructed"))
    if final.recovered:
        recovered = final.copy().model
        convert(recovered, resident.device, recovered.dtype)
        row = measured(f"{EVOLVED}, recovered", recovered)
        rows.append(row | {"sparsity": rows[-1]["sparsity"]})  # a recovery keeps zeros
    return Table(rows, session.protocol() | _measured(windows, options), _SHARES)


def _row(
    name: str, resident: Resident, perplexity: float, windows: Windows, options: EvalOptions, model: Any = None
) -> Row:
    """Return the measurements of the resident model, or of ``model``, a copy of it with other weights."""
    model, tokenizer = model or resident.model, resident.tokenizer
    sparsity = resident.removed_weights / resident.prunable_weights
    row = {"model": name, "sparsity": sparsity, "perplexity": finite(perplexity)}
    if windows.lines:
        row["accuracy"] = accuracy(windows, tokenizer, Measure(Forward(model), None))
    tasks = run_tasks(model, tokenizer, options, windows.bos_token is not None, "--tasks") if options.tasks else {}
    return row | tasks


def measure(source: str, options: EvalOptions) -> Table:
    """Measure the model ``source``, in a row; with ``--against``, compare the file ``source`` with its source.

    Raises :class:`evoprune.InputError`.
    """
    resident, texts = _read(source, options)
    if options.against:
        file, protocol = Path(source), protocol_of(resident) | _measured(texts[0], options)
        return find_plugin(FORMATS, file.suffix[1:]).compare(file, resident, texts, protocol)  # type: ignore[no-any-return]
    (windows,) = texts
    perplexity = Measure(resident.forward, None).perplexity(windows.tokens)
    row = _row(Path(source).name, resident, perplexity, windows, options)
    return Table([row], protocol_of(resident) | _measured(windows, options), _SHARES)


def _read(source: str, options: EvalOptions) -> tuple[Resident, list[Windows]]:
    """Return the model of ``--against``, by default ``source``, and the texts, by default that of ``source``."""
    with _options_in_errors("--against" if options.against else "SOURCE"):
        name = options.against or source
        chosen = {"model": name, "device": options.device, "dtype": options.dtype or "float32"}
        settings: Any = check_parameters(ModelSettings, chosen, "")
        texts = _texts(options, _report_text(Path(source)))
        follow_threads()
        resident = Resident(*load_any(settings), name)
        for role, text in texts:
            check_length(text, resident.model, role)
        return resident, [_cut(text, resident, role, options) for role, text in texts]


def _cut(text: TextSettings, resident: Resident, role: str, options: EvalOptions) -> Windows:
    """Cut windows of the ``text``, of at most 20,000 tokens to compare unless ``options`` name a number or all."""
    if few := bool(options.against and not (text.windows or options.all or is_task(text))):
        text = text.model_copy(update={"windows": max(1, _COMPARED // text.window)})
    return _shortest(cut_windows(text, resident.tokenizer, role, at_most=few), resident)


def _shortest(windows: Windows, resident: Resident) -> Windows:
    """Cut the padding after the longest line of a task file."""
    if not windows.lines:
        return windows
    size = max(most_tokens(line, resident.tokenizer) for line in windows.lines) + (windows.bos_token is not None)
    return replace(windows, tokens=windows.tokens[:, :size])


@contextmanager
def _options_in_errors(model: str = "SOURCE") -> Iterator[None]:
    """Name options in errors, not keys of an experiment; ``model``: the argument in place of ``problem.model``."""
    try:
        yield
    except InputError as error:
        *problem, key = (error.source or "").split(".")
        names = {"model": model} | {name: f"--{name}" for name in EvalOptions.model_fields}
        raise InputError(error.problems, names.get(key, error.source) if problem else error.source) from None


def _texts(options: EvalOptions, default: TextSettings) -> list[tuple[str, TextSettings]]:
    """Return the texts of ``options`` with the name of the option; without any, ``default``."""
    tasks = options.names if options.against else []
    texts = [("text", _text(options, default, options.text))] if options.text or not tasks else []
    texts += [("also", _text(options, default, other)) for other in options.also]
    return texts + [("tasks", _text(options, default, task, windows=options.limit, column="text")) for task in tasks]


def _text(options: EvalOptions, default: TextSettings, source: str | None, **more: Any) -> TextSettings:
    """Return the text ``source``, by default ``default``, in windows by ``default``, ``options`` and ``more``."""
    changed = options.model_dump(include={"split", "column", "window", "windows"}, exclude_unset=True) | more
    if source is None:
        return TextSettings(**default.model_dump() | changed)
    windows = {"window": default.window, "windows": None, "begin": default.begin}
    return TextSettings(**windows | changed, source=source)


def _report_text(source: Path) -> TextSettings:
    """Return the report text of the export ``source``, a folder or a file; the bundled text if it is not an export."""
    try:
        facts = json.loads(metadata_path(source, FACTS, source.is_file()).read_text(encoding="utf-8"))
        return settings_of(dict(facts["protocol"]["report_text"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return BUNDLED_REPORT_TEXT


def _measured(windows: Windows, options: EvalOptions) -> dict[str, Any]:
    return windows.protocol() | ({"tasks": options.tasks, "limit": options.limit} if options.tasks else {})
