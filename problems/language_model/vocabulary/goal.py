"""The goal ``vocabulary`` of the command ``prune``: the number of tokens that a text needs."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from evoprune import InputError
from evoprune.problems.language_model.models.resident import Resident
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text
from evoprune.problems.language_model.texts.windows import tokenise
from evoprune.problems.language_model.vocabulary.order import token_frequencies, token_order
from evoprune.problems.language_model.vocabulary.transform import VocabularySettings

_OPTION = "--vocabulary"
_LOST = 0.02  # expected nats a token that tokens left out may cost, about a hundredth


def needed_tokens(resident: Resident, vocabulary: Mapping[str, Any], searched: Mapping[str, Any]) -> int:
    """Return the tokens that the text ``searched`` needs of ``resident``, as it is like the text ``vocabulary``.

    Both: keys of :class:`TextSettings`. Raises :class:`evoprune.InputError` if all tokens are needed.
    """
    tokenizer = resident.tokenizer
    order = token_order(tokenizer, [load_text(TextSettings(**vocabulary), _OPTION)])
    uses = token_frequencies(tokenise(load_text(TextSettings(**searched), _OPTION), tokenizer))
    rows = len(resident.model.get_input_embeddings().weight)
    counts = range(order.fewest, rows, VocabularySettings().step)
    place = bisect_left(counts, -_LOST, key=lambda count: -order.expected_loss(uses, count))
    if place == len(counts):
        raise InputError("such a text needs all tokens: give a longer one, or a goal such as --size", _OPTION)
    return counts[place]
