"""The option ``--vocabulary`` of the command ``prune``: tokens that a text does not need are left out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from evoprune import InputError
from evoprune.errors import blamed_on
from evoprune.problems.language_model.prune.goals import Unneeded
from evoprune.problems.language_model.prune.template import Json
from evoprune.problems.language_model.texts.settings import TextSettings
from evoprune.problems.language_model.texts.source import load_text

if TYPE_CHECKING:  # it imports torch
    from evoprune.problems.language_model.models.resident import Resident

OPTION = Unneeded.option

_LOST = 0.02  # expected nats a token: about a hundredth
_STEP = 256  # tokens
_LONG = 32  # windows, of which a search reads 8, and a training holds out at most as many


def unneeded(resident: Resident, words: Json, text: Json) -> Unneeded:
    """Return the goal for the model ``resident``: settings of the text that says which tokens stay, and of another."""
    from evoprune.problems.language_model.texts.windows import tokens_of
    from evoprune.problems.language_model.transforms.vocabulary.order import order_of, uses_in

    order = order_of(resident.tokenizer, [load_text(TextSettings(**words), OPTION)])
    uses = uses_in(tokens_of(load_text(TextSettings(**text), OPTION), resident.tokenizer))
    counts = range(order.fewest, len(resident.model.get_input_embeddings().weight), _STEP)
    place = bisect_left(counts, -_LOST, key=lambda count: -order.lost(uses, count))
    if place == len(counts):
        raise InputError("such a text needs all tokens: give a longer one, or a goal such as --size", OPTION)
    return Unneeded(counts[place])


def text_of(given: str, text: str | None, parts: Mapping[str, Json]) -> Json:
    """Settings of the text ``given`` for the vocabulary: where it is ``text`` itself, its part for calibration."""
    if text is not None and Path(given).resolve() == Path(text).resolve():
        return dict(parts["calibration"])
    settings = TextSettings(source=given)
    with blamed_on(OPTION):
        load_text(settings, "transforms.texts")
    return {"source": settings.source}


def trained_on(words: Json | None, parts: Mapping[str, Json], windows: int) -> Json:
    """Settings of the text to train on: another one than ``words``, which has hardly any of the missing tokens.

    ``windows``: of the part for the search, most of which must be left to train on.
    """
    return parts["search" if words == parts["calibration"] and windows >= _LONG else "calibration"]
