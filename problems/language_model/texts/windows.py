"""Windows of tokens: a text is tokenised and cut, and some of its windows are chosen."""

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy.typing import NDArray

from evoprune import InputError
from evoprune.errors import blamed_on
from evoprune.problems.language_model.models.blocks import max_positions
from evoprune.problems.language_model.models.load import added_bos_token
from evoprune.problems.language_model.models.marks import ids, predictions
from evoprune.problems.language_model.texts.settings import Begin, Sampling, TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.tasks import Line, is_task, lines_of, rows_of

_AT_ONCE = 2 * 2**20  # characters: a tokenizer takes some 200 bytes of memory for each
_LONGEST_WORD = 2**16  # characters after which a text without words is cut anywhere
_WORDS_END = re.compile(r"(?<=\w)(?=\s)")
_BUCKETS = 256  # of hashed tokens: histograms of a whole vocabulary would be nearly empty
_ROUNDS = 30  # of k-means, which has converged by then

Tokens = NDArray[numpy.int64]


@dataclass(frozen=True)
class Windows:
    """Windows of tokens ``(windows, window)``, int64 on the CPU, and where they come from.

    Those of a task file begin with one of its ``lines`` each, whose answer alone counts (see
    :mod:`evoprune.problems.language_model.models.marks`): the lines after it fill the window, and cannot change its
    score.
    """

    tokens: torch.Tensor
    settings: TextSettings
    places: tuple[int, ...]  # the number of each window in its text, in increasing order
    begin: str | None = None  # the token that begins every window and is not part of the text
    lines: tuple[Line, ...] = ()
    first: str = ""  # the text of the first window, where each is read by itself

    @property
    def text(self) -> torch.Tensor:
        """The tokens of the text alone ``(windows, tokens)``, as a model reads them."""
        return ids(self._of_text)

    @property
    def beginning(self) -> str:
        """A text with the first tokens, all of those of the first window or line where :attr:`apart`."""
        return self.first or (self.lines[0].text if self.lines else load_text(self.settings, "report_text"))

    @property
    def apart(self) -> bool:
        """Tell whether a window does not go on where the one before it ends."""
        return bool(self.lines or self.first)

    @property
    def counted(self) -> NDArray[numpy.bool_]:
        """Say of each token of :attr:`text` if it counts."""
        return (self._of_text >= 0).numpy()

    @property
    def _of_text(self) -> torch.Tensor:
        return self.tokens[:, 1:] if self.begin is not None else self.tokens

    def chosen(self, kept: list[int]) -> "Windows":
        """The windows that have the numbers ``kept`` among these."""
        lines = tuple(self.lines[number] for number in kept) if self.lines else ()
        return replace(self, tokens=self.tokens[kept], places=tuple(self.places[at] for at in kept), lines=lines)

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
        """Bytes of the text that the predicted tokens stand for, in UTF-8."""
        rows = (row[row >= 0] for row in self.tokens[:, 1:])
        texts = (tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in rows)
        return sum(len(text.encode()) for text in texts)

    def measured(self, tokenizer: Any) -> dict[str, Any]:
        """Its :meth:`protocol` with the predicted ``bytes``, by which losses become bits per byte."""
        return self.protocol() | {"bytes": self.predicted_bytes(tokenizer)}

    def protocol(self) -> dict[str, Any]:
        windows, window = self.tokens.shape
        keys = {"source", "subset", "split", "column", "part", "sampling", "sampling_seed"}
        text = self.settings.model_dump(mode="json", include=keys)
        counted = {"windows": windows, "window": window, "predictions": self.predictions}
        return text | counted | {"begin": self.begin, "sha256": self.sha256}


def settings_of(protocol: Mapping[str, Any]) -> TextSettings:
    """Return the settings of the text that a :meth:`Windows.protocol` describes."""
    known = {key: protocol[key] for key in TextSettings.model_fields if key in protocol}
    return TextSettings(**known | {"begin": protocol.get("begin") is not None})


def cut_windows(settings: TextSettings, tokenizer: Any, role: str, at_most: bool = False) -> Windows:
    """Return non-overlapping windows of the text that ``settings`` name, sampled as they say.

    ``role`` names the settings in errors. ``at_most``: a text that is too short gives fewer windows, at least one.
    """
    whole = _tokenised(settings, tokenizer, role)
    available = len(whole.tokens)
    wanted = settings.windows or max(1, available)
    if at_most:
        wanted = max(1, min(available, wanted))
    if available < wanted:
        has = f"{whole.count} tokens, {available} windows of {settings.window}; expected {wanted} windows"
        if whole.lines:
            has = f"{available} different lines{' in this part' if settings.part else ''}; expected {wanted}"
        raise InputError(
            f"{settings.source} has {has}; ask for fewer or shorter ones, or give a longer text", f"problem.{role}"
        )
    return whole.chosen(order(whole.tokens, wanted, settings.sampling, settings.sampling_seed)[:wanted])


def held_out_windows(searched: Windows, seen: Iterable[Windows], count: int, tokenizer: Any) -> Windows | None:
    """Return at most ``count`` windows that share no token with ``searched`` and ``seen``, of the same text.

    They are the next ones of its sampling. None if no window is left.
    """
    settings = searched.settings
    whole = _tokenised(settings, tokenizer, "search_text")
    free = whole.free([searched, *seen])
    sampled = order(whole.tokens, len(searched.places), settings.sampling, settings.sampling_seed)
    rest = [window for window in sampled if free[window]]
    return whole.chosen(rest[:count]) if rest[:count] else None


def unused_windows(settings: TextSettings, used: Iterable[Windows], tokenizer: Any, role: str) -> Windows:
    """Return all windows of the text that ``settings`` name that share no token with ``used``, of the same text."""
    whole = _tokenised(settings, tokenizer, role)
    return whole.chosen([window for window, free in enumerate(whole.free(used)) if free])


def check_length(settings: TextSettings, model: Any, role: str) -> None:
    """Refuse windows with more tokens than ``model`` has positions."""
    longest = max_positions(model)
    if longest and settings.window > longest:
        raise InputError(f"{settings.window} is longer than the model's {longest} positions", f"problem.{role}.window")


@dataclass(frozen=True)
class _Whole:
    """A text of ``count`` tokens cut up: ``tokens`` ``(available, tokens of the text in a window)``.

    Of a task file, each window is that of one of ``lines``.
    """

    settings: TextSettings
    tokens: Tokens
    count: int
    bos_token: tuple[int, str] | None  # its id, and how it is written
    lines: tuple[Line, ...] = ()

    def free(self, used: Iterable[Windows]) -> list[bool]:
        seen = numpy.zeros(self.count, dtype=bool)
        for windows in used:
            length = windows.text.shape[1]
            for place in windows.places:
                seen[place * length : (place + 1) * length] = True
        return [not window.any() for window in seen[: self.tokens.size].reshape(self.tokens.shape)]

    def chosen(self, places: list[int]) -> Windows:
        places = sorted(places)
        tokens, name = torch.from_numpy(self.tokens[places]), None
        if self.bos_token is not None:
            number, name = self.bos_token
            tokens = torch.cat([torch.full((len(places), 1), number, dtype=torch.int64), tokens], dim=1)
        lines = tuple(self.lines[place] for place in places) if self.lines else ()
        return Windows(tokens, self.settings, tuple(places), name, lines)


def _tokenised(settings: TextSettings, tokenizer: Any, role: str) -> _Whole:
    """Return all windows of a text."""
    first = bos_token(tokenizer, settings.begin, role)
    named = None if first is None else (first, str(tokenizer.convert_ids_to_tokens(first)))
    length = settings.window - (first is not None)
    if is_task(settings):
        with blamed_on(f"problem.{role}"):
            lines = lines_of(settings, tokenizer)
            tokens = rows_of(lines, settings, tokenizer, length)
        return _Whole(settings, tokens, tokens.size, named, tuple(lines))
    tokens = tokens_of(load_text(settings, role), tokenizer)
    return _Whole(settings, tokens[: len(tokens) // length * length].reshape(-1, length), len(tokens), named)


def tokens_of(text: str, tokenizer: Any) -> Tokens:
    """Return the tokens of ``text``, which is tokenised once: a long one takes minutes."""
    known = _tokens.setdefault(tokenizer, {})
    key = hashlib.sha256(text.encode()).digest()
    if key not in known:
        parts = [tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"] for part in _parts(text)]
        known[key] = numpy.concatenate([numpy.array(part, dtype=numpy.int64) for part in parts or [[]]])
    return known[key]


_tokens: WeakKeyDictionary[Any, dict[bytes, Tokens]] = WeakKeyDictionary()
"""The tokens of texts by tokenizer and the text's hash."""


def _parts(text: str) -> Iterator[str]:
    """Split ``text`` into parts of about :data:`_AT_ONCE` characters, each of which ends with a word, as tokens do."""
    start = 0
    while start < len(text):
        limit = start + _AT_ONCE + _LONGEST_WORD
        end = _WORDS_END.search(text, start + _AT_ONCE, limit)
        stop = end.start() if end else limit
        yield text[start:stop]
        start = stop


def bos_token(tokenizer: Any, begin: Begin, role: str) -> int | None:
    """Return the id of the token that begins each window, if any; ``role`` names the text in errors."""
    if begin is False:
        return None
    added = added_bos_token(tokenizer)
    if added is not None or begin == "auto":
        return added
    if getattr(tokenizer, "bos_token_id", None) is None:
        raise InputError("the tokenizer has no token that begins a text", f"problem.{role}.begin")
    return int(tokenizer.bos_token_id)


def order(tokens: Tokens, wanted: int, sampling: Sampling, seed: int) -> list[int]:
    """Return the numbers of all windows ``tokens`` ``(available, window)``, the ``wanted`` ones first.

    ``first``: in the text's order. ``random``: shuffled by ``seed``. ``clusters``: from each of ``wanted`` clusters
    the window nearest its centre, and then the others, shuffled.
    """
    if sampling == "first":
        return list(range(len(tokens)))
    shuffled: list[int] = numpy.random.default_rng(seed).permutation(len(tokens)).tolist()
    if sampling == "random":
        return shuffled
    chosen = _central(_features(ids(tokens)), shuffled[:wanted])
    taken = set(chosen)
    return chosen + [window for window in shuffled if window not in taken]


def _features(tokens: Tokens) -> NDArray[numpy.float64]:
    """Return the square roots of the frequencies of hashed tokens in each window ``(available, buckets)``.

    They have unit length: distances are Hellinger distances, in which common words do not dominate.
    """
    # Knuth's multiplicative hash: neighbours in a vocabulary are often similar, and should not share a bucket.
    buckets = (tokens.astype(numpy.uint64) * 2654435761 % 2**32) // (2**32 // _BUCKETS)
    counts = numpy.stack([numpy.bincount(row, minlength=_BUCKETS) for row in buckets.astype(numpy.int64)])
    frequencies: NDArray[numpy.float64] = numpy.sqrt(counts / tokens.shape[1])
    return frequencies


def _central(features: NDArray[numpy.float64], starts: list[int]) -> list[int]:
    """Return the window nearest the centre of each k-means cluster, each once; k-means starts at windows ``starts``.

    As EvoP chooses calibration data (Wu et al., 2025).
    """
    from scipy.cluster.vq import kmeans2  # few runs need it, and it takes half a second to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster, as when windows are equal, keeps its centre
        centres, _ = kmeans2(features, features[starts], iter=_ROUNDS, minit="matrix")
    left = numpy.ones(len(features), dtype=bool)
    chosen = []
    for centre in centres:
        distances = numpy.where(left, ((features - centre) ** 2).sum(1), numpy.inf)
        chosen.append(int(distances.argmin()))
        left[chosen[-1]] = False
    return chosen
