"""Windows of tokens: a text is tokenised and cut into windows, and some are selected."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.plugins import blamed_on
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.forward import ids, predictions
from evoprune.problems.language_model.models.load import added_bos_token
from evoprune.problems.language_model.texts.settings import Begin, TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.tasks import Line, is_task, read_lines, token_rows

_AT_ONCE = 2 * 2**20  # characters: a tokenizer takes some 200 bytes of memory for each
_LONGEST_WORD = 2**16  # characters after which a text without words is cut anywhere
_WORDS_END = re.compile(r"(?<=\w)(?=\s)")

Tokens = NDArray[numpy.int64]


@dataclass(frozen=True)
class Windows:
    """Windows of tokens ``(windows, window)``, int64 on the CPU, and their text.

    Each window of a task file begins with one of ``lines``, whose answer alone is scored (see ``models/forward.py``):
    the lines after it fill the window, and cannot change its score.
    """

    tokens: torch.Tensor
    settings: TextSettings
    places: tuple[int, ...]  # the numbers of the windows in the text, in increasing order
    bos_token: str | None = None  # begins every window, and is not part of the text
    lines: tuple[Line, ...] = ()
    first: str = ""  # the text of the first window, if each was tokenised by itself
    loss_scale: float = 1.0  # the loss per token of the dense model's tokenizer, divided by that per token here

    @property
    def text(self) -> torch.Tensor:
        """The tokens of the text alone ``(windows, tokens)``, as a model reads them."""
        return ids(self._text_tokens)

    @property
    def first_text(self) -> str:
        """A text that begins with the first tokens: a window or line if :attr:`independent`, else the whole text."""
        return self.first or (self.lines[0].text if self.lines else load_text(self.settings, "report_text"))

    @property
    def independent(self) -> bool:
        """True if a window does not continue the text of the one before it."""
        return bool(self.lines or self.first)

    @property
    def token_mask(self) -> NDArray[numpy.bool_]:
        """The tokens of :attr:`text` that are scored."""
        return (self._text_tokens >= 0).numpy()

    @property
    def _text_tokens(self) -> torch.Tensor:
        return self.tokens[:, 1:] if self.bos_token is not None else self.tokens

    def select(self, numbers: Sequence[int]) -> "Windows":
        """Return the windows at the indices ``numbers``."""
        lines = tuple(self.lines[number] for number in numbers) if self.lines else ()
        places = tuple(self.places[number] for number in numbers)
        return replace(self, tokens=self.tokens[list(numbers)], places=places, lines=lines)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.tokens.numpy().tobytes()).hexdigest()

    @property
    def identity(self) -> tuple[str, tuple[int, ...]]:
        return self.sha256, tuple(self.tokens.shape)

    @property
    def predictions(self) -> int:
        return predictions(self.tokens)

    def predicted_bytes(self, tokenizer: Any) -> int:
        """Return the bytes, in UTF-8, of the text of the predicted tokens."""
        rows = (row[row >= 0] for row in self.tokens[:, 1:])
        texts = (tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in rows)
        return sum(len(text.encode()) for text in texts)

    def protocol_with_bytes(self, tokenizer: Any) -> dict[str, Any]:
        """Return the :meth:`protocol` and the predicted ``bytes``, which turn losses into bits per byte."""
        return self.protocol() | {"bytes": self.predicted_bytes(tokenizer)}

    def protocol(self) -> dict[str, Any]:
        windows, window = self.tokens.shape
        keys = {"source", "subset", "split", "column", "part", "sampling", "sampling_seed"}
        text = self.settings.model_dump(mode="json", include=keys)
        counted = {"windows": windows, "window": window, "predictions": self.predictions}
        return text | counted | {"begin": self.bos_token, "sha256": self.sha256}


def settings_of(protocol: Mapping[str, Any]) -> TextSettings:
    """Return the settings of the text that a :meth:`Windows.protocol` describes."""
    settings = {key: protocol[key] for key in TextSettings.model_fields if key in protocol}
    return TextSettings(**settings | {"begin": protocol.get("begin") is not None})


def cut_windows(settings: TextSettings, tokenizer: Any, role: str, at_most: bool = False) -> Windows:
    """Return non-overlapping windows of the text of ``settings``, sampled by them.

    ``role``: the key of the settings, for errors. ``at_most``: accept a short text with fewer windows, at least one.
    """
    whole = _all_windows(settings, tokenizer, role)
    available = len(whole.tokens)
    wanted = settings.windows or max(1, available)
    if at_most:
        wanted = max(1, min(available, wanted))
    if available < wanted:
        unit = "different lines" if whole.lines else f"windows of {settings.window}"
        fault = f"{settings.source} has {available} {unit}{' in this part' if settings.part else ''}"
        remedy = "ask for fewer or shorter ones, or give a longer text"
        raise InputError(f"{fault}; expected {wanted}: {remedy}", f"problem.{role}")
    return whole.select(sorted(_order(settings, available)[:wanted]))


def held_out_windows(searched: Windows, seen: Iterable[Windows], count: int, tokenizer: Any) -> Windows | None:
    """Return the next ``count`` windows of the sampling, at most, that share no token with ``searched`` and ``seen``.

    All are of the same text. None if no window remains.
    """
    whole = _all_windows(searched.settings, tokenizer, "search_text")
    free = set(_free(whole, [searched, *seen]))
    rest = [number for number in _order(searched.settings, len(whole.tokens)) if number in free][:count]
    return whole.select(sorted(rest)) if rest else None


def unused_windows(settings: TextSettings, used: Iterable[Windows], tokenizer: Any, role: str) -> Windows:
    """Return the windows of the text of ``settings`` that share no token with ``used``, windows of the same text."""
    whole = _all_windows(settings, tokenizer, role)
    return whole.select(_free(whole, used))


def check_length(settings: TextSettings, model: Any, role: str) -> None:
    """Refuse windows with more tokens than ``model`` has positions."""
    longest = max_positions(model.config)
    if longest and settings.window > longest:
        raise InputError(f"{settings.window} is longer than the model's {longest} positions", f"problem.{role}.window")


def _order(settings: TextSettings, count: int) -> list[int]:
    """Return the indices of ``count`` windows in the order of the sampling."""
    if settings.sampling == "first":
        return list(range(count))
    shuffled: list[int] = numpy.random.default_rng(settings.sampling_seed).permutation(count).tolist()
    return shuffled


def _free(whole: Windows, used: Iterable[Windows]) -> list[int]:
    """Return the indices of the windows of ``whole`` that share no token with ``used``, windows of the same text."""
    if whole.lines:  # each begins one window, of any length
        taken = {line for windows in used for line in windows.lines}
        return [number for number, line in enumerate(whole.lines) if line not in taken]
    length = whole.text.shape[1]
    seen: set[int] = set()
    for windows in used:
        size = windows.text.shape[1]
        for start in (place * size for place in windows.places):
            seen.update(range(start // length, (start + size - 1) // length + 1))
    return [number for number in range(len(whole.tokens)) if number not in seen]


def _all_windows(settings: TextSettings, tokenizer: Any, role: str) -> Windows:
    bos, name, lines = bos_token(tokenizer, settings.begin, role), None, []
    length = settings.window - (bos is not None)
    if is_task(settings):
        with blamed_on(f"problem.{role}"):
            lines = read_lines(settings, tokenizer)
            rows = token_rows(lines, settings, tokenizer, length)
    else:
        rows = tokenise(load_text(settings, role), tokenizer)
        rows = rows[: len(rows) // length * length].reshape(-1, length)
    tokens = torch.from_numpy(rows)
    if bos is not None:
        name = str(tokenizer.convert_ids_to_tokens(bos))
        tokens = torch.cat([torch.full((len(rows), 1), bos, dtype=torch.int64), tokens], dim=1)
    return Windows(tokens, settings, tuple(range(len(rows))), name, tuple(lines))


def tokenise(text: str, tokenizer: Any) -> Tokens:
    """Return the tokens of ``text``, which is tokenised once: a long one takes minutes."""
    cache = _tokens.setdefault(tokenizer, {})
    key = hashlib.sha256(text.encode()).digest()
    if key not in cache:
        parts = [tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"] for part in _parts(text)]
        cache[key] = numpy.concatenate([numpy.array(part, dtype=numpy.int64) for part in parts or [[]]])
    return cache[key]


_tokens: WeakKeyDictionary[Any, dict[bytes, Tokens]] = WeakKeyDictionary()
"""The tokens of texts, by tokenizer and hash of the text."""


def _parts(text: str) -> Iterator[str]:
    """Split ``text`` into parts of about :data:`_AT_ONCE` characters that end with a word, as tokens do."""
    start = 0
    while start < len(text):
        limit = start + _AT_ONCE + _LONGEST_WORD
        end = _WORDS_END.search(text, start + _AT_ONCE, limit)
        stop = end.start() if end else limit
        yield text[start:stop]
        start = stop


def bos_token(tokenizer: Any, begin: Begin, role: str) -> int | None:
    """Return the id of the token that begins each window, if any; ``role``: the key of the text, for errors."""
    if begin is False:
        return None
    added = added_bos_token(tokenizer)
    if added is not None or begin == "auto":
        return added
    if getattr(tokenizer, "bos_token_id", None) is None:
        raise InputError("the tokenizer has no token that begins a text", f"problem.{role}.begin")
    return int(tokenizer.bos_token_id)
