"""Compares a .gguf file with its source on texts and task files: ``eval FILE --against SOURCE``."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from scipy.stats import binomtest

from evoprune import InputError
from evoprune.plugins import Table
from evoprune.problems.language_model.evaluation.answers import right_answers, right_lines, variants_of
from evoprune.problems.language_model.evaluation.measure import Measure
from evoprune.problems.language_model.evaluation.prediction_file import PredictionFile, refuse_unless_room
from evoprune.problems.language_model.gguf.export.facts import FILE_LABELS
from evoprune.problems.language_model.gguf.runtime import measure_file
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import is_model_file, short_name
from evoprune.problems.language_model.results.result import Text
from evoprune.problems.language_model.texts.windows import Windows

Row = dict[str, Any]

_PERCENTAGES = frozenset({"accuracy", "same_top", "same_top_error", "probability_change"})


def compare(file: Path, resident: Resident, texts: Sequence[Windows], protocol: Mapping[str, Any]) -> Table:
    """Return rows for the .gguf ``file``, and for its source, which is resident, if that is a .gguf file: by text.

    llama.cpp runs files; divergences are from the source's predictions in PyTorch.
    """
    refuse_unless_room(max(windows.predictions for windows in texts), resident.forward.vocabulary)
    by_text = [[*_file_rows(file, resident, windows)] for windows in texts]
    keys = dict.fromkeys(key for rows in by_text for row in rows for key in row)
    source = f"{short_name(resident.source)} in PyTorch; each file, also that of the source, in llama.cpp"
    protocol = {"compared_with": source, **protocol}
    if len(texts) > 1:
        protocol["also"] = [windows.protocol() for windows in texts[1:]]
    plain = [rows[-1] for rows, windows in zip(by_text, texts, strict=True) if not windows.lines]
    if len(plain) > 1:
        protocol["worst_text"] = max(plain, key=lambda row: float(row["divergence"]))["text"]
    rows = [{key: row.get(key) for key in keys} for rows in by_text for row in rows]
    return Table(rows, protocol, _PERCENTAGES, FILE_LABELS)


def _file_rows(file: Path, resident: Resident, windows: Windows) -> Iterator[Row]:
    """Yield the row of the source, if it is a .gguf file, and that of ``file``, on ``windows``."""
    measure, tokenizer, variants, right = Measure(resident.forward, None), resident.tokenizer, None, None
    text = Text.model_validate(windows.protocol_with_bytes(tokenizer))
    others = [Path(resident.source)] if is_model_file(resident.source) else []
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
