"""Texts that a tokenizer with fewer tokens reads: window by window to compare losses, or packed to train on."""

from dataclasses import replace
from typing import Any

import torch

from evoprune.problems.language_model.models.forward import ids
from evoprune.problems.language_model.texts.windows import Windows


def read_anew(windows: Windows, first: Any, tokenizer: Any, longest: int | None) -> Windows:
    """Return the text of ``windows``, made by the tokenizer ``first``, as ``tokenizer`` reads each window.

    The bytes that ``windows`` predict are predicted, but for bytes beyond ``longest`` tokens, the most of a window. The
    factor is the ratio of the bytes of a token.
    """
    added = [] if windows.begin is None else [tokenizer.convert_tokens_to_ids(windows.begin)]
    rows = []
    for row in windows.text:
        text, given = (first.decode(own, clean_up_tokenization_spaces=False) for own in (row, row[:1]))
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        begun = 0 if added else len(given)
        places = zip(read["input_ids"], read["offset_mapping"], strict=True)
        rows.append([*added, *(token if start >= begun else ~token for token, (start, _) in places)][:longest])
    tokens = torch.full((len(rows), max(map(len, rows))), ~0)
    for place, read_row in zip(tokens, rows, strict=True):
        place[: len(read_row)] = torch.tensor(read_row)
    settings = windows.settings.model_copy(update={"window": tokens.shape[1]})
    opening = first.decode(windows.text[0], clean_up_tokenization_spaces=False)
    read = Windows(tokens, settings, windows.places, windows.begin, first=opening)
    bytes_before, bytes_now = (
        text.predicted_bytes(by) / text.predictions for text, by in ((windows, first), (read, tokenizer))
    )
    return replace(read, factor=bytes_before / bytes_now)


def packed(windows: Windows, window: int) -> Windows:
    """Return the text of :func:`read_anew` in windows of ``window`` tokens that all count, one after the other."""
    first = int(windows.begin is not None)
    lengths = (int((row >= 0).nonzero().max()) + 1 for row in windows.tokens)  # the rest fills a window
    text = ids(torch.cat([row[first:length] for row, length in zip(windows.tokens, lengths, strict=True)]))
    count = len(text) // (window - first)
    begins = windows.tokens[:1, :first].expand(count, first)
    tokens = torch.cat([begins, text[: count * (window - first)].reshape(count, -1)], dim=1)
    settings = windows.settings.model_copy(update={"window": window})
    return replace(windows, tokens=tokens, settings=settings, places=tuple(range(count)))
