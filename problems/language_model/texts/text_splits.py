"""The texts of a run by their roles, retokenised for smaller vocabularies, and passages that two texts share."""

from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from evoprune import InputError
from evoprune.plugins import note
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.forward import ids
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.settings import TextSettings, TextsSettings, overlap
from evoprune.problems.language_model.texts.windows import Windows, check_length, cut_windows, held_out_windows

PASSAGE = 32  # tokens
_RARE = 16  # tokens in a sequence that unrelated texts do not share
_MOST_IN_COMMON = 0.01  # of the report text: quotations and headings may be the same
_BASE = numpy.uint64(0x9E3779B97F4A7C15)  # of the hashes, odd


def share_in_common(text: Windows, other: Windows) -> float:
    """Return the share, in [0, 1], of the tokens of ``text`` in passages that occur in ``other``."""
    return float(in_common(text, other).sum() / text.token_mask.sum())


def in_common(text: Windows, other: Windows, passage: int = PASSAGE) -> NDArray[numpy.bool_]:
    """Return the mask ``(windows, tokens)`` of the scored tokens of ``text`` in passages that occur in ``other``.

    A passage is any ``passage`` tokens in a row, found by hashes and compared token by token; of two task files a
    whole line, as prompts may begin alike.
    """
    if text.lines and other.lines:
        lines = frozenset(other.lines)
        shared = numpy.array([line in lines for line in text.lines])
        return text.token_mask & shared[:, None]  # type: ignore[no-any-return]
    ours, theirs = (one.text.numpy().reshape(-1) for one in (text, other))
    covered = numpy.zeros(len(ours), dtype=bool)
    if min(len(ours), len(theirs)) >= passage:
        hashes, others = _hashes(ours, passage), _hashes(theirs, passage)
        order = others.argsort(kind="stable")
        places = numpy.searchsorted(others, hashes, sorter=order).clip(max=len(others) - 1)
        alike = numpy.flatnonzero(others[order[places]] == hashes)
        same = sliding_window_view(ours, passage)[alike] == sliding_window_view(theirs, passage)[order[places[alike]]]
        for start in alike[same.all(1)]:
            covered[start : start + passage] = True
    return covered.reshape(text.text.shape) & text.token_mask


def holds_much_of(report: Windows, other: Windows) -> bool:
    """Tell whether ``report`` shares too many passages with ``other``, or one as long as a window."""
    if share_in_common(report, other) > _MOST_IN_COMMON:
        return True
    length = min(report.text.shape[1], other.text.shape[1])
    both_tasks = report.lines and other.lines
    return length >= _RARE and not both_tasks and bool(in_common(report, other, length).any())


def _hashes(tokens: NDArray[numpy.int64], passage: int) -> NDArray[numpy.uint64]:
    """Hash each passage: the sum of the tokens times powers of the base, modulo 2^64."""
    powers = numpy.cumprod(numpy.full(passage, _BASE), dtype=numpy.uint64)
    return sliding_window_view(tokens.astype(numpy.uint64), passage) @ powers


def refuse_task_file(windows: Windows) -> None:
    """Raise :class:`evoprune.InputError` for a task file, which a tokenizer with fewer tokens does not read."""
    if windows.lines:
        why = "is a task file, whose tokens must all stay: expected plain text, or no transform vocabulary"
        raise InputError(f"{windows.settings.source} {why}")


def retokenise(windows: Windows, before: Any, tokenizer: Any, longest: int | None) -> Windows:
    """Tokenise the text of each of ``windows``, which the tokenizer ``before`` made, by ``tokenizer``.

    The same bytes are predicted, except for bytes beyond ``longest`` tokens of a window. The scale of the loss is the
    ratio of the bytes per token.
    """
    added = [] if windows.bos_token is None else [tokenizer.convert_tokens_to_ids(windows.bos_token)]
    rows, texts = [], [before.decode(row, clean_up_tokenization_spaces=False) for row in windows.text]
    for text, row in zip(texts, windows.text, strict=True):
        begun = 0 if added else len(before.decode(row[:1], clean_up_tokenization_spaces=False))
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        places = zip(read["input_ids"], read["offset_mapping"], strict=True)
        rows.append([*added, *(token if start >= begun else ~token for token, (start, _) in places)][:longest])
    tokens = pad_sequence([*map(torch.tensor, rows)], batch_first=True, padding_value=~0)
    settings = windows.settings.model_copy(update={"window": tokens.shape[1]})
    read = Windows(tokens, settings, windows.places, windows.bos_token, first=texts[0])
    bytes_before, bytes_now = (
        text.predicted_bytes(by) / text.predictions for text, by in ((windows, before), (read, tokenizer))
    )
    return replace(read, loss_scale=bytes_before / bytes_now)


def packed(windows: Windows, window: int) -> Windows:
    """Join the text of :func:`retokenise`, and cut it into windows of ``window`` tokens, which are all scored."""
    first = int(windows.bos_token is not None)
    lengths = (int((row >= 0).nonzero().max()) + 1 for row in windows.tokens)  # the rest fills a window
    text = ids(torch.cat([row[first:length] for row, length in zip(windows.tokens, lengths, strict=True)]))
    count = len(text) // (window - first)
    begins = windows.tokens[:1, :first].expand(count, first)
    tokens = torch.cat([begins, text[: count * (window - first)].reshape(count, -1)], dim=1)
    settings = windows.settings.model_copy(update={"window": window})
    return replace(windows, tokens=tokens, settings=settings, places=tuple(range(count)))


class Texts:
    """The windows of the texts of ``settings``, read at their first use, or by :meth:`fingerprint`.

    If the run ``calibrates``, report and held-out text must not overlap with the calibration text. The tokenizer is
    that of the dense model, even while a transform has swapped it; see :meth:`retokenised`.
    """

    def __init__(self, settings: TextsSettings, resident: Resident, calibrates: bool = False) -> None:
        self._settings, self._resident, self.tokenizer = settings, resident, resident.tokenizer
        self.calibrates = calibrates
        self._retokenised: WeakKeyDictionary[Any, dict[Any, Windows]] = WeakKeyDictionary()

    @cached_property
    def search(self) -> Windows:
        return self.windows(self._settings.search_text, "search_text")

    @cached_property
    def calibration(self) -> Windows:
        at_most = self._settings.calibration_text is None  # then the number of windows is a default
        return self.windows(self._settings.calibration, "calibration_text", at_most)

    @cached_property
    def held_out(self) -> Windows | None:
        """Windows of the search text's source, unseen by search and calibration; None if there are none."""
        count = self._settings.held_out_windows
        if not count:
            return None
        same = self.calibrates and self._settings.calibration.identity == self._settings.search_text.identity
        found = held_out_windows(self.search, [self.calibration] if same else [], count, self.tokenizer)
        if (unused := len(found.tokens) if found else 0) < count:
            note(f"problem.held_out_windows: {unused} in place of {count}, as no more of the search text is unused")
        return found

    @cached_property
    def second(self) -> list[Windows]:
        texts = enumerate(self._settings.second_text)
        return [self.windows(text, f"second_text.{at}", at_most=True) for at, text in texts]

    @cached_property
    def report(self) -> Windows:
        """The windows that score the result, unseen by the search; training leaves their passages out."""
        report = self.windows(self._settings.report_text, "report_text")
        seen = {"search_text": self.search, "calibration_text": self.calibration if self.calibrates else None}
        for role, windows in (seen | {"held-out text": self.held_out}).items():
            if windows and holds_much_of(report, windows):
                why = f"problem.report_text holds passages of the {role}, which the search sees"
                raise InputError(f"{why}; give another text, or split the file in two")
        return report

    def windows(self, text: TextSettings, role: str, at_most: bool = False) -> Windows:
        check_length(text, self._resident.model, role)
        return cut_windows(text, self.tokenizer, role, at_most)

    def refuse_seen(self, text: TextSettings, key: str) -> None:
        """Raise :class:`evoprune.InputError` if ``text``, which decides on a model, also measures it."""
        for role in ("search_text", "report_text"):
            if overlap(text, getattr(self._settings, role)):
                why = f"{text.source} is {role}, which measures the model; give another, or a part: of it"
                raise InputError(why, key)

    def retokenised(self, windows: Windows) -> Windows:
        """Return ``windows`` as the model's present tokenizer reads them: it may have lost tokens."""
        tokenizer = self._resident.tokenizer
        if tokenizer is self.tokenizer:
            return windows
        refuse_task_file(windows)
        cache = self._retokenised.setdefault(tokenizer, {})
        if windows.identity not in cache:
            longest = max_positions(self._resident.model.config)
            cache[windows.identity] = retokenise(windows, self.tokenizer, tokenizer, longest)
        return cache[windows.identity]

    def fingerprint(self) -> dict[str, str]:
        """Return the hash of each text's tokens, and the token that begins windows, if any.

        Second texts, which decide nothing, are only read. Raises :class:`evoprune.InputError` for a faulty text.
        """
        others = {"calibration_text": self.calibration if self.calibrates else None, "held_out_text": self.held_out}
        _ = self.second
        hashes = {"search_text": self.search.sha256, "report_text": self.report.sha256}
        bos = {"begin": self.search.bos_token} if self.search.bos_token is not None else {}
        return bos | hashes | {name: windows.sha256 for name, windows in others.items() if windows}
