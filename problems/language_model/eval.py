"""Measures models: perplexity under a stated protocol, and tasks of lm-evaluation-harness (Gao et al., 2021)."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from scipy.stats import binomtest

from evoprune import InputError
from evoprune.plugins import EVOLVED, FACTS, Table, check_parameters, finite, metadata_path
from evoprune.problems.language_model.evaluation.answers import accuracy, right_answers, right_lines, variants_of
from evoprune.problems.language_model.evaluation.harness import run_tasks
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.evaluation.prediction_file import PredictionFile, refuse_unless_room
from evoprune.problems.language_model.evaluation.session import protocol_of
from evoprune.problems.language_model.export.ragged_model import load_any
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.device import follow_threads
from evoprune.problems.language_model.models.forward import Forward
from evoprune.problems.language_model.models.load import convert
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import ModelSettings, short_name
from evoprune.problems.language_model.results.final_model import FinalModel
from evoprune.problems.language_model.results.result import Text
from evoprune.problems.language_model.results.summary import FILE_LABELS
from evoprune.problems.language_model.settings import EvalOptions
from evoprune.problems.language_model.texts.settings import BUNDLED_REPORT_TEXT, TextSettings
from evoprune.problems.language_model.texts.tasks import most_tokens
from evoprune.problems.language_model.texts.windows import Windows, check_length, cut_windows, settings_of

Row = dict[str, Any]

_SHARES = frozenset({"sparsity", "accuracy", "same_top", "same_top_error", "probability_change"})


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
    """Measure the model ``source``, in a row; with ``--against``, compare the .gguf file ``source`` with its source.

    Raises :class:`evoprune.InputError`.
    """
    resident, texts = _read(source, options)
    if options.against:
        return _compare_files(Path(source), resident, texts, options)
    (windows,) = texts
    perplexity = Measure(resident.forward, None).perplexity(windows.tokens)
    row = _row(Path(source).name, resident, perplexity, windows, options)
    return Table([row], protocol_of(resident) | _measured(windows, options), _SHARES)


def _compare_files(file: Path, resident: Resident, texts: Sequence[Windows], options: EvalOptions) -> Table:
    """Return rows for the .gguf ``file``, and for its source, which is resident, if that is a .gguf file: by text.

    llama.cpp runs files; divergences are from the source's predictions in PyTorch.
    """
    refuse_unless_room(max(windows.predictions for windows in texts), resident.forward.vocabulary)
    by_text = [[*_file_rows(file, resident, windows)] for windows in texts]
    keys = dict.fromkeys(key for rows in by_text for row in rows for key in row)
    source = f"{short_name(resident.source)} in PyTorch; each file, also that of the source, in llama.cpp"
    protocol = {"compared_with": source} | protocol_of(resident) | _measured(texts[0], options)
    if len(texts) > 1:
        protocol["also"] = [windows.protocol() for windows in texts[1:]]
    plain = [rows[-1] for rows, windows in zip(by_text, texts, strict=True) if not windows.lines]
    if len(plain) > 1:
        protocol["worst_text"] = max(plain, key=lambda row: float(row["divergence"]))["text"]
    rows = [{key: row.get(key) for key in keys} for rows in by_text for row in rows]
    return Table(rows, protocol, _SHARES, FILE_LABELS)


def _file_rows(file: Path, resident: Resident, windows: Windows) -> Iterator[Row]:
    """Yield the row of the source, if it is a .gguf file, and that of ``file``, on ``windows``."""
    from evoprune.problems.language_model.gguf.runtime import measure_file

    measure, tokenizer, variants, right = Measure(resident.forward, None), resident.tokenizer, None, None
    text = Text.model_validate(windows.protocol_with_bytes(tokenizer))
    others = [Path(resident.source)] if resident.source.endswith(".gguf") else []
    if windows.lines:
        variants = variants_of(windows, tokenizer)
        right = None if others else right_lines(windows, tokenizer, measure)
    with TemporaryFile(dir=cache_folder()) as whole:  # unnamed: a kill leaves nothing
        dense = PredictionFile(whole, windows.predictions)
        measure.value(windows.tokens, dense, label="measuring")
        for path in [*others, file]:
            scores = measure_file(
                path, windows.first_text, windows.tokens, windows.bos_token is not None, {"loss": dense.losses},
                memory=False, variants=variants, prediction_file=whole.fileno(),
            )  # fmt: skip
            row = _file_row(path, text, scores)
            if windows.lines:
                answers = right_answers(windows.lines, scores["answers"])
                row |= {"accuracy": sum(answers) / len(answers)} | (flips(right, answers) if right else {})
                right = answers
            yield row


def _file_row(path: Path, text: Text, scores: Mapping[str, Any]) -> Row:
    """Return the row of the file ``path`` on ``text``; ``scores``: measurements of llama.cpp. Raises InputError."""
    if (first := scores.get("first_other_token")) is not None:
        raise InputError(f"reads other tokens from token {first:,} on", str(path))
    if not (table := scores["predictions"]):
        raise InputError(scores.get("failure", "has infinite losses"), str(path))
    ratio, error = math.exp(table["behind"]), table["behind_error"]
    row = {"model": path.name, "text": text.name, "bytes": path.stat().st_size}
    row |= {
        "bits_per_byte": text.bits_per_byte(scores["perplexity"]),
        "bits_behind": text.bits_per_byte(ratio),
        "bits_behind_error": text.bits_per_byte(math.exp(error)),
    }
    row |= {name: scores[name] for name in ("perplexity", "divergence")}
    row |= {name: value for name, value in table.items() if not name.startswith("behind")}
    return row | {"perplexity_ratio": ratio, "perplexity_ratio_error": ratio * error}


def flips(before: Sequence[bool], after: Sequence[bool]) -> Row:
    """Count answers that became wrong, and right; with McNemar's exact test (1947) that both are equally likely."""
    pairs = [*zip(before, after, strict=True)]
    lost, gained = pairs.count((True, False)), pairs.count((False, True))
    probability = float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return {"became_wrong": lost, "became_right": gained, "mcnemar_p": probability}


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
        return resident, [_shortest(cut_windows(text, resident.tokenizer, role), resident) for role, text in texts]


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
