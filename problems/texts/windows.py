"""Cuts a text into windows of tokens."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy
import torch
from numpy.typing import NDArray

from evoprune import InputError
from problems.models.blocks import max_positions
from problems.models.load import added_bos_token
from problems.texts.settings import Begin, Sampling, TextSettings
from problems.texts.source import load_text

_AT_ONCE = 2 * 2**20
"""Characters that are tokenised at once."""

_WORDS_END = re.compile(r"(?<=\w)(?=\s)")

_TELLING = 16
"""Length of a sequence of tokens; unrelated texts share shorter ones."""


@dataclass(frozen=True)
class Windows:
    """Windows of tokens ``(windows, window)``, int64 on the CPU, and where they come from."""

    tokens: torch.Tensor
    settings: TextSettings
    places: tuple[int, ...]
    """The number of each window in its text, in increasing order."""
    begin: str | None = None
    """The token that every window begins with, which is not part of the text; None if there is none."""

    @property
    def text(self) -> torch.Tensor:
        """The tokens of the text alone ``(windows, tokens)``."""
        return self.tokens[:, 1:] if self.begin is not None else self.tokens

    @property
    def sha256(self) -> str:
        """The hash of the token ids."""
        return hashlib.sha256(self.tokens.numpy().tobytes()).hexdigest()

    @property
    def identity(self) -> tuple[str, tuple[int, ...]]:
        """What tells these windows from all others: the hash of the token ids, and their shape."""
        return self.sha256, tuple(self.tokens.shape)

    @property
    def predictions(self) -> int:
        """The number of next tokens that are predicted in all windows."""
        return predictions(self.tokens)

    def protocol(self) -> dict[str, Any]:
        """The part of the protocol that describes these windows."""
        windows, window = self.tokens.shape
        keys = {"source", "subset", "split", "column", "part", "sampling", "sampling_seed"}
        text = self.settings.model_dump(mode="json", include=keys)
        counted = {"windows": windows, "window": window, "predictions": self.predictions}
        return text | counted | {"begin": self.begin, "sha256": self.sha256}


def settings_of(protocol: Mapping[str, Any]) -> TextSettings:
    """The settings of the text that a :meth:`Windows.protocol` describes; one without ``begin`` had no such token."""
    known = {key: protocol[key] for key in TextSettings.model_fields if key in protocol}
    return TextSettings(**known | {"begin": protocol.get("begin") is not None})


def predictions(tokens: torch.Tensor) -> int:
    """The number of predicted tokens in ``tokens`` ``(windows, window)``: one fewer than tokens in each window."""
    return tokens.shape[0] * (tokens.shape[1] - 1)


def cut_windows(settings: TextSettings, tokenizer: Any, role: str, at_most: bool = False) -> Windows:
    """Non-overlapping windows of the text that ``settings`` name, sampled as they say.

    ``role`` names the settings in errors. Raises
    :class:`evoprune.InputError` if the text is shorter than asked for; with ``at_most``, only
    if it has no window at all.
    """
    whole = _tokenised(settings, tokenizer, role)
    available = len(whole.tokens)
    wanted = settings.windows or max(1, available)
    if at_most:
        wanted = max(1, min(available, wanted))
    if available < wanted:
        raise InputError(
            f"{settings.source} has {whole.count} tokens, {available} windows of {settings.window}; "
            f"expected {wanted} windows; ask for fewer or shorter ones, or give a longer text",
            f"problem.{role}",
        )
    return whole.chosen(order(whole.tokens, wanted, settings.sampling, settings.sampling_seed)[:wanted])


def share_a_window(one: Windows, other: Windows) -> bool:
    """Whether a whole window of one occurs in the tokens of the other, at any position."""
    return _holds(one, other) or _holds(other, one)


def _holds(text: Windows, windows: Windows) -> bool:
    if windows.text.shape[1] < _TELLING:
        return False
    joined, size = text.text.numpy().tobytes(), text.text.element_size()
    for row in windows.text.numpy():
        passage = row.tobytes()
        place = joined.find(passage)
        while place > 0 and place % size:  # not at the start of a token: bytes that are equal by chance
            place = joined.find(passage, place + 1)
        if place >= 0:
            return True
    return False


def check_length(settings: TextSettings, model: Any, role: str) -> None:
    """Raise :class:`evoprune.InputError` if ``model`` has fewer positions than a window has tokens."""
    longest = max_positions(model)
    if longest and settings.window > longest:
        raise InputError(f"{settings.window} is longer than the model's {longest} positions", f"problem.{role}.window")


def held_out_windows(searched: Windows, learnt: Iterable[Windows], count: int, tokenizer: Any) -> Windows | None:
    """At most ``count`` more windows of the text of ``searched``, none of which shares a token with ``learnt``.

    They are the next windows of its sampling: those that follow, or the next ones of its shuffle.
    ``learnt`` are windows of the same text, of any length. None if no window is left.
    """
    settings = searched.settings
    whole = _tokenised(settings, tokenizer, "search_text")
    free = whole.free([searched, *learnt])
    sampled = order(whole.tokens, len(searched.places), settings.sampling, settings.sampling_seed)
    rest = [window for window in sampled if free[window]]
    return whole.chosen(rest[:count]) if rest[:count] else None


def unused_windows(settings: TextSettings, used: Iterable[Windows], tokenizer: Any, role: str) -> Windows:
    """All windows of the text that ``settings`` name, of their length, that share no token with ``used``.

    ``used`` are windows of the same text, of any length. There may be none. Raises :class:`evoprune.InputError`.
    """
    whole = _tokenised(settings, tokenizer, role)
    return whole.chosen([window for window, free in enumerate(whole.free(used)) if free])


@dataclass(frozen=True)
class _Whole:
    """A text of ``count`` tokens cut up: ``tokens`` ``(available, tokens of the text in a window)``."""

    settings: TextSettings
    tokens: numpy.ndarray[Any, Any]
    count: int
    begin: tuple[int, str] | None
    """What each window begins with: the number of a token, and how it is written."""

    def free(self, used: Iterable[Windows]) -> list[bool]:
        """Which windows share no token of the text with ``used``."""
        seen = numpy.zeros(self.count, dtype=bool)
        for windows in used:
            length = windows.text.shape[1]
            for place in windows.places:
                seen[place * length : (place + 1) * length] = True
        return [not window.any() for window in seen[: self.tokens.size].reshape(self.tokens.shape)]

    def chosen(self, places: list[int]) -> Windows:
        """The windows ``places``."""
        kept = sorted(places)
        tokens = torch.from_numpy(self.tokens[kept])
        if self.begin is None:
            return Windows(tokens, self.settings, tuple(kept))
        number, name = self.begin
        first = torch.full((len(kept), 1), number, dtype=torch.int64)
        return Windows(torch.cat([first, tokens], dim=1), self.settings, tuple(kept), name)


def _tokenised(settings: TextSettings, tokenizer: Any, role: str) -> _Whole:
    """All windows of a text."""
    first = bos_token(tokenizer, settings.begin, role)
    begin = None if first is None else (first, str(tokenizer.convert_ids_to_tokens(first)))
    length = settings.window - (begin is not None)
    numbers = _numbers(settings, tokenizer, role)
    return _Whole(settings, numbers[: len(numbers) // length * length].reshape(-1, length), len(numbers), begin)


def _numbers(settings: TextSettings, tokenizer: Any, role: str) -> numpy.ndarray[Any, Any]:
    """The numbers of all tokens of a text, int64. A text is tokenised once: a long one takes minutes.

    It is done in parts, as a tokenizer takes some 200 bytes of memory for each character.
    """
    text, known = load_text(settings, role), _tokens.setdefault(tokenizer, {})
    key = hashlib.sha256(text.encode()).digest()  # not its name: a file may have changed
    if key not in known:
        parts = [tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"] for part in _parts(text)]
        known[key] = numpy.concatenate([numpy.array(part, dtype=numpy.int64) for part in parts])
    return known[key]


def _parts(text: str) -> Iterator[str]:
    """``text`` in parts of about :data:`_AT_ONCE` characters, each of which ends with a word.

    Tokens end there in any case, so that they are those of the whole text (a tokenizer that puts a space before each
    text, as Llama 2's, gives one more for each part).
    """
    start = 0
    while end := _WORDS_END.search(text, start + _AT_ONCE):
        yield text[start : end.start()]
        start = end.start()
    yield text[start:]


_tokens: WeakKeyDictionary[Any, dict[bytes, numpy.ndarray[Any, Any]]] = WeakKeyDictionary()
"""Of each tokenizer, the tokens of the texts that it was given, by the texts' hashes."""


Tokens = NDArray[numpy.int64]

_BUCKETS = 256
"""Token ids are hashed into this many buckets: histograms of a whole vocabulary would be nearly empty."""

_ROUNDS = 30
"""Iterations of k-means; it has converged by then."""


def order(tokens: Tokens, wanted: int, sampling: Sampling, seed: int) -> list[int]:
    """All windows of ``tokens`` ``(available, window)`` by number, the ``wanted`` ones first.

    ``first``: in the text's order. ``random``: shuffled by ``seed``. ``clusters``: from each of
    ``wanted`` clusters the window nearest its centre, and then the others, shuffled.
    """
    if sampling == "first":
        return list(range(len(tokens)))
    shuffled: list[int] = numpy.random.default_rng(seed).permutation(len(tokens)).tolist()
    if sampling == "random":
        return shuffled
    chosen = _central(_features(tokens), shuffled[:wanted])
    taken = set(chosen)
    return chosen + [window for window in shuffled if window not in taken]


def _features(tokens: Tokens) -> NDArray[numpy.float64]:
    """The square roots of the frequencies of hashed tokens in each window ``(available, buckets)``.

    Of unit length, so distances are Hellinger distances, in which common words do not dominate.
    """
    # Knuth's multiplicative hash: neighbours in a vocabulary are often similar, and should not share a bucket.
    buckets = (tokens.astype(numpy.uint64) * 2654435761 % 2**32) // (2**32 // _BUCKETS)
    counts = numpy.stack([numpy.bincount(row, minlength=_BUCKETS) for row in buckets.astype(numpy.int64)])
    frequencies: NDArray[numpy.float64] = numpy.sqrt(counts / tokens.shape[1])
    return frequencies


def _central(features: NDArray[numpy.float64], starts: list[int]) -> list[int]:
    """The window nearest the centre of each k-means cluster, each once; k-means begins at the windows ``starts``.

    As in EvoP (Wu et al., "EvoP: Robust LLM Inference via Evolutionary Pruning", 2025), which
    clusters its calibration data so that a small sample is as diverse as the whole.
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


def bos_token(tokenizer: Any, begin: Begin, role: str) -> int | None:
    """The id of the token that each window begins with; None if ``begin`` or the tokenizer says that there is none.

    ``role`` names the text in errors. Raises :class:`evoprune.InputError` where ``begin`` asks for a token and the
    tokenizer has none.
    """
    if begin is False:
        return None
    added = added_bos_token(tokenizer)
    if added is not None or begin == "auto":
        return added
    if getattr(tokenizer, "bos_token_id", None) is None:
        raise InputError(
            "the tokenizer has no token that begins a text; expected auto or false", f"problem.{role}.begin"
        )
    return int(tokenizer.bos_token_id)
