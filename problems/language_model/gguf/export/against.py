"""Compares a .gguf file with its source on texts and task files: ``eval FILE --against SOURCE``."""

import errno
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Self

import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn.functional import cross_entropy

from evoprune import InputError
from evoprune.plugins import Progress, Table, digits, note
from evoprune.problems.language_model.evaluation.answers import right_answers, right_lines, variants_of
from evoprune.problems.language_model.evaluation.measure import Measure, Objective, Perplexity
from evoprune.problems.language_model.gguf.export.facts import FILE_LABELS, LossGap
from evoprune.problems.language_model.gguf.runtime import measure_file, seconds_a_token
from evoprune.problems.language_model.models.cache import cache_folder
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.models.settings import is_model_file, short_name
from evoprune.problems.language_model.results.result import Text
from evoprune.problems.language_model.texts.windows import Windows

Row = dict[str, Any]

_TIMED, _LONG = 128, 20.0  # tokens that everything is timed on; seconds from which the time is said first
_FLOAT16_BYTES = 2
_PERCENTAGES = frozenset({"accuracy", "same_top", "same_top_error", "probability_change"})


def compare(file: Path, resident: Resident, texts: Sequence[Windows], protocol: Mapping[str, Any]) -> Table:
    """Return rows for the .gguf ``file``, and for its source, which is resident, if that is a .gguf file: by text.

    llama.cpp runs files; divergences are from the source's predictions in PyTorch.
    """
    refuse_unless_room(max(windows.predictions for windows in texts), resident.forward.vocabulary)
    with Progress() as phase:
        clock = _Clock.of(file, resident, texts, phase)
        by_text = [[*_file_rows(file, resident, windows, clock)] for windows in texts]
    keys = dict.fromkeys(key for rows in by_text for row in rows for key in row)
    source = f"{short_name(resident.source)} in PyTorch; each file, also that of the source, in llama.cpp"
    verdict = [_verdict(rows[-1], windows) for rows, windows in zip(by_text, texts, strict=True)]
    protocol = {"verdict": "; ".join(verdict), "compared_with": source, **protocol}
    if len(texts) > 1:
        protocol["also"] = [windows.protocol() for windows in texts[1:]]
    plain = [rows[-1] for rows, windows in zip(by_text, texts, strict=True) if not windows.lines]
    if len(plain) > 1:
        protocol["worst_text"] = max(plain, key=lambda row: float(row["divergence"]))["text"]
    rows = [{key: row.get(key) for key in keys} for rows in by_text for row in rows]
    return Table(rows, protocol, _PERCENTAGES, FILE_LABELS)


def _verdict(row: Row, windows: Windows) -> str:
    """Return the scores of a ``row`` on ``windows`` in the words of the verdict of ``prune``."""
    gap = LossGap(row["bits_behind"], row["bits_behind_error"], row["same_top"])
    return f"{row['text']}: {', '.join(gap.words(windows.predictions, row['divergence']))}"


@dataclass
class _Clock:
    """Shows the time left of a comparison, whose parts have ``estimates`` in seconds, corrected as parts end."""

    phase: Progress
    estimates: list[float]
    begun: float = field(default_factory=time.monotonic)
    done: int = 0

    @classmethod
    def of(cls, file: Path, resident: Resident, texts: Sequence[Windows], phase: Progress) -> Self:
        """Time all that reads the ``texts`` on some tokens, and say how long the comparison takes."""
        phase.now("timing the files")
        first, begun = texts[0].tokens[:1, :_TIMED], time.monotonic()
        Measure(resident.forward, None).value(first, Perplexity())
        rates = [(time.monotonic() - begun) / first.numel()]
        rates += [seconds_a_token(path, first.numel()) for path in files_of(file, resident)]
        clock = cls(phase, [rate * windows.tokens.numel() for windows in texts for rate in rates])
        if (seconds := sum(clock.estimates)) > _LONG:
            tokens = sum(windows.tokens.numel() for windows in texts)
            minutes = digits(seconds / 60, 2)
            note(
                f"{tokens:,} tokens take about {minutes} min, in PyTorch and then in llama.cpp; --windows N is shorter"
            )
        return clock

    def begin(self, part: str) -> None:
        """Show the next ``part``, and the time left."""
        before, after = sum(self.estimates[: self.done]), sum(self.estimates[self.done :])
        left = after * ((time.monotonic() - self.begun) / before if before else 1.0)
        self.phase.now(f"{part}: about {digits(left / 60, 2)} min left in all", left)
        self.done += 1


def files_of(file: Path, resident: Resident) -> list[Path]:
    """Return the files that are compared: the source of ``resident``, if it is one, and ``file``."""
    return [*([Path(resident.source)] if is_model_file(resident.source) else []), file]


def _file_rows(file: Path, resident: Resident, windows: Windows, clock: _Clock) -> Iterator[Row]:
    """Yield the row of the source, if it is a .gguf file, and that of ``file``, on ``windows``."""
    measure, tokenizer, variants, right = Measure(resident.forward, None), resident.tokenizer, None, None
    text = Text.model_validate(windows.protocol_with_bytes(tokenizer))
    paths = files_of(file, resident)
    if windows.lines:
        variants = variants_of(windows, tokenizer)
        right = None if paths[1:] else right_lines(windows, tokenizer, measure)
    with TemporaryFile(dir=cache_folder()) as whole:  # unnamed: a kill leaves nothing
        dense = PredictionFile(whole, windows.predictions)
        clock.begin("the source in PyTorch")
        measure.value(windows.tokens, dense)
        for path in paths:
            clock.begin(f"{path.name} in llama.cpp")
            scores = measure_file(
                path, windows.first_text, windows.tokens, windows.bos_token is not None, {"loss": dense.losses},
                memory=False, variants=variants, prediction_file=whole.fileno(),
            )  # fmt: skip
            row = _file_row(path, text, scores, "the file" if path == file else "llama.cpp, same weights")
            if windows.lines:
                answers = right_answers(windows.lines, scores["answers"])
                row |= {"accuracy": sum(answers) / len(answers)} | (flips(right, answers) if right else {})
                right = answers
            yield row


def _file_row(path: Path, text: Text, scores: Mapping[str, Any], compared: str) -> Row:
    """Return the row of the file ``path`` on ``text``; ``scores``: measurements of llama.cpp. Raises InputError.

    ``compared``: with the source in PyTorch.
    """
    if (first := scores.get("first_other_token")) is not None:
        raise InputError(f"reads other tokens from token {first:,} on", str(path))
    if not (table := scores["predictions"]):
        raise InputError(scores.get("failure", "has infinite losses"), str(path))
    ratio, error = math.exp(table["behind"]), table["behind_error"]
    row: Row = {"model": path.name, "text": text.name, "compares": f"{compared}, with PyTorch"}
    row["bytes"] = path.stat().st_size
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


class PredictionFile(Objective):
    """Writes predictions over the whole vocabulary to ``file``, and stores the ``losses`` of the next tokens.

    The value is the mean loss. A row holds the logits minus the largest one, in float16, which is finest near 0, where
    tokens are likely. Readers normalise the rows, so divergences change by less than 1e-5 nats.
    """

    def __init__(self, file: BinaryIO, predictions: int) -> None:
        self._file, self.losses = file, torch.empty(predictions)

    def add(self, logits: Tensor, targets: Tensor, first: int) -> Tensor:
        """Return the summed next-token loss. Raises OSError if the disk is full."""
        losses = cross_entropy(logits, targets, reduction="none")
        self.losses[first : first + len(targets)] = losses.cpu()
        rows = (logits - logits.amax(1, keepdim=True)).half().cpu().numpy()
        if os.pwrite(self._file.fileno(), rows.data, first * rows.shape[1] * _FLOAT16_BYTES) < rows.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return losses.sum()


def refuse_unless_room(predictions: int, vocabulary: int) -> None:
    """Raise :class:`evoprune.InputError` if the cache's folder has no room for a :class:`PredictionFile`."""
    needed, folder = predictions * vocabulary * _FLOAT16_BYTES / 1e9, cache_folder()
    if needed > (free := shutil.disk_usage(folder).free / 1e9):
        takes = f"{predictions:,} predictions of {vocabulary:,} tokens take {needed:.1f} GB in {folder}"
        remedy = "give fewer --windows, or set EVOPRUNE_CACHE to a folder with room"
        raise InputError(f"{takes}, and {free:.1f} GB are free: {remedy}", "--against")
